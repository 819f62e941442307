"""Forwards that engines of one base and its adapters share: each row computed with its own text's adapter.

Reading the base's weights is most of what a step of few rows costs, so that a step of each adapter's own would make all
of them wait for each other (docs/decisions/0017). Whoever comes first waits a moment for those who were in the last
forward, computes for all, and hands each its own; the engines know nothing of it. Texts that somebody watches are
computed in forwards of their own model alone: what looks into a model sees that one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.likeness import is_rounding, measure_change
from glassformer.compute.lora import NotMixable, mix, mixing
from glassformer.compute.packing import compute_packed
from glassformer.engine.forward import PackedForward, Part, Row
from glassformer.engine.sequence import TokenSequence
from glassformer.loading.loaded import LoadedModel

log = logging.getLogger(__name__)

Found = list[Tensor | Exception | None]
Mixture = tuple[list[ref[LoadedModel]], Any]
# How long those are waited for who were in the last forward: a share of what that took, and at most so long.
WAIT_SHARE, MOST_WAIT_SECS = 0.3, 0.03
# Rows of each model that are tried when models are mixed.
TRIED_IDS = 3


def run_in_company(
    forward: PackedForward, parts: list[Part], stores: dict[TokenSequence, KeyValueStore]
) -> Found:
    """`PackedForward.run`, together with what engines of the same base are about to compute."""
    company = find_company(forward.loaded)
    if company is None or any(part.sequence.watcher is not None for part in parts):
        return forward.run(parts, stores)
    return company.run(Job(forward, parts, stores))


def find_company(loaded: LoadedModel) -> Company | None:
    """Whom a model shares forwards with; nobody where no adapter is over it."""
    if loaded.base is None:
        return _companies.get(loaded)
    with _making:
        return _companies.setdefault(loaded.base, Company())


class Job:
    """What one engine wants from the next forward, and what it got."""

    def __init__(
        self, forward: PackedForward, parts: list[Part], stores: dict[TokenSequence, KeyValueStore]
    ) -> None:
        self.forward, self.parts, self.stores = forward, parts, stores
        self.found: Found = []
        self.error: Exception | None = None
        self.is_done = False

    def take(self) -> Found:
        """What it got. Raises what went wrong."""
        if self.error is not None:
            raise self.error
        return self.found

    def run_alone(self) -> None:
        try:
            self.found = self.forward.run(self.parts, self.stores)
        except Exception as exc:
            self.error = exc


class Company:
    """The engines of one base and the adapters over it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._is_computing = False
        # Those who were in the last forward, by their ids, and what it took.
        self._last: set[int] = set()
        self._secs = 0.0
        # The models that were mixed last, and what computes for them; None where that cannot be. Held weakly, and what
        # computes for them goes with the first of them: nothing here keeps a model in memory that is unloaded.
        self._mixture: Mixture = ([], None)

    def run(self, job: Job) -> Found:
        """What a job wants, computed by this thread for all who wait, or by another for it."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
            while self._is_computing and not job.is_done:
                self._changed.wait()
            if job.is_done:
                return job.take()
            self._is_computing = True
            self._wait_for_last()
            jobs, self._waiting = self._waiting, []
        started = time.perf_counter()
        try:
            self._compute(jobs)
        finally:
            with self._changed:
                self._last = {id(each.forward) for each in jobs}
                self._secs = time.perf_counter() - started
                self._is_computing = False
                for each in jobs:
                    each.is_done = True
                self._changed.notify_all()
        return job.take()

    def _wait_for_last(self) -> None:
        """Wait a moment for who was in the last forward and is about to come again. With the condition held."""
        until_secs = time.perf_counter() + min(WAIT_SHARE * self._secs, MOST_WAIT_SECS)
        while self._last - {id(job.forward) for job in self._waiting}:
            left_secs = until_secs - time.perf_counter()
            if left_secs <= 0:
                return
            self._changed.wait(left_secs)

    def _compute(self, jobs: list[Job]) -> None:
        known, mixed = (
            self._find_mixture([job.forward.loaded for job in jobs]) if len(jobs) > 1 else ([], None)
        )
        if mixed is not None:
            try:
                compute_mixed(mixed, [one() for one in known], jobs)
                return
            except NotMixable:
                self._mixture = (known, None)
            except Exception as exc:
                # One of them may be at fault, or all together too large: each alone shows which.
                log.warning("a forward of %d models failed (%s)", len(jobs), type(exc).__name__)
        for job in jobs:
            job.run_alone()

    def _find_mixture(self, wanted: list[LoadedModel]) -> Mixture:
        """What computes rows of all of `wanted`, made when it is first asked for."""
        before = self._mixture
        known = [one() for one in before[0]]
        if all(any(each is one for one in known) for each in wanted):
            return before
        base = wanted[0].base or wanted[0]
        # With those before: who takes turns does not have it made anew each time.
        kept = [one for one in known if one is not None and all(one is not each for each in wanted)]
        models = [*wanted, *kept][: max(len(wanted), MOST_MIXED)]
        found = self._mixture = ([ref(one, self._drop_mixture) for one in models], make_mixed(base, models))
        return found

    def _drop_mixture(self, gone: ref[LoadedModel]) -> None:
        """Hold nothing of a model that is gone; those that are left are mixed anew when they next ask."""
        if any(gone is one for one in self._mixture[0]):
            self._mixture = ([], None)


# Models that a mixed one is made for at most, beside those that want it now.
MOST_MIXED = 8
_companies: WeakKeyDictionary[LoadedModel, Company] = WeakKeyDictionary()
_making = threading.Lock()


@torch.inference_mode()
def make_mixed(base: LoadedModel, models: Sequence[LoadedModel]) -> Any:
    """A model for rows of all these, if it gives each what its own model gives; None where it does not."""
    try:
        with base.lock, base.lock.running(TRIED_IDS * len(models), "probes"):
            with torch.inference_mode(False):
                mixed = mix(base.model, [one.model for one in models])
            ids = [(7 * at + 1) % base.vocab for at in range(TRIED_IDS)]
            own = [try_rows(one.model, ids, 1) for one in models]
            places = [(slice(at * TRIED_IDS, (at + 1) * TRIED_IDS), at) for at in range(len(models))]
            with mixing(places, TRIED_IDS * len(models)):
                found = try_rows(mixed, ids, len(models))
    except NotMixable:
        log.info(
            "adapters over %s take turns: they change more than can be told apart by rows", base.model_id
        )
        return None
    except Exception as exc:
        log.warning("adapters over %s take turns (%s)", base.model_id, type(exc).__name__)
        log.debug("mixing them failed", exc_info=exc)
        return None
    if not is_rounding(measure_change(found, torch.cat(own)), base.dtype):
        log.warning("adapters over %s take turns: a shared forward changes their logits", base.model_id)
        return None
    return mixed


def try_rows(model: Any, ids: list[int], times: int) -> Tensor:
    """Logits [row, vocab] of the same text so many times in one packed row."""
    count = len(ids)
    spans = [PackedSpan(slice(at * count, (at + 1) * count), 0, KeyValueStore()) for at in range(times)]
    rows = range(count * times)
    return compute_packed(model, ids * times, [*range(count)] * times, spans, rows).float()


def compute_mixed(mixed: Any, models: Sequence[LoadedModel | None], jobs: Sequence[Job]) -> None:
    """One forward for all jobs, each of whose rows have the adapter of their own model."""
    row, places, spans = Row(), [], []
    for job in jobs:
        first = len(row.ids)
        spans.append(row.add(job.parts, job.stores))
        place = next(at for at, one in enumerate(models) if one is job.forward.loaded)
        places.append((slice(first, len(row.ids)), place))
    lock = jobs[0].forward.loaded.lock
    with lock, torch.inference_mode():
        batches = [batch for job, own in zip(jobs, spans, strict=True) for batch in job.forward.arrange(own)]
        with lock.running(len(row.ids)), mixing(places, len(row.ids)):
            logits = row.compute(mixed, batches)
        found = row.finish(logits)
    for job in jobs:
        job.found, found = found[: len(job.parts)], found[len(job.parts) :]
