"""Running the model on what it has not seen of some sequences: all in one packed row, or one at a time.

Models whose sequences cannot share a row go through their own `prepare_inputs_for_generation` and cache, as
`generate()` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.compute.generate import ModuleState, make_first_arguments
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.key_value_batch import BatchedRows, KeyValueBatches
from glassformer.compute.packing import compute_packed
from glassformer.engine.sequence import TokenSequence
from glassformer.loading.loaded import LoadedModel


@dataclass(slots=True)
class Part:
    """The next `count` positions of a sequence, to be computed by one forward; `wanted` is what its watcher wants."""

    sequence: TokenSequence
    count: int
    wanted: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        watcher = self.sequence.watcher
        self.wanted = frozenset() if watcher is None else watcher.wanted(self.count)

    @property
    def start(self) -> int:
        """The first of the positions."""
        return self.sequence.seen

    @property
    def stop(self) -> int:
        """The position after the last."""
        return self.sequence.seen + self.count

    @property
    def draws(self) -> bool:
        """Whether the sequence draws a token from the last position's logits."""
        return self.sequence.draws and self.count == self.sequence.pending

    @property
    def logits_count(self) -> int:
        """For how many of the last positions logits are needed."""
        return self.count if "lm_head" in self.wanted else int(self.draws)


class PackedForward:
    """One forward for many sequences, each with a store of its own."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._batches = KeyValueBatches()

    @torch.inference_mode()
    def release(self, store: KeyValueStore, length: int) -> None:
        """Take a store out of the batch it may be in, with its first `length` positions; with 0 it is given up."""
        self._batches.remove(store, length)

    def run(
        self, parts: Sequence[Part], stores: dict[TokenSequence, KeyValueStore]
    ) -> list[Tensor | Exception | None]:
        """Compute `parts`; for each that draws the logits of its last position, Float[Tensor, "vocab"].

        A watcher that fails gives its exception in their place, and harms no other.
        """
        row = Row()
        row.add(parts, stores)
        with self.loaded.lock, torch.inference_mode():
            with ExitStack() as stack:
                for part, span in zip(parts, row.spans, strict=True):
                    if part.sequence.watcher is not None:
                        stack.enter_context(part.sequence.watcher.watch(span.rows, part.start, part.stop))
                capture = open_capture(self.loaded, parts, stack)
                batches = self.arrange(row.spans)
                with self.loaded.lock.running(len(row.ids)):
                    logits = row.compute(self.loaded.model, batches)
            return row.finish(logits, capture)

    def arrange(self, spans: Sequence[PackedSpan]) -> list[BatchedRows]:
        """Put those of its sequences side by side that can attend together in the next forward."""
        return self._batches.arrange(spans, self.loaded.device)


class Row:
    """A packed row: the parts that it holds, one after the other."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.spans: list[PackedSpan] = []
        self.ids: list[int] = []
        self._positions: list[int] = []
        self._kept: list[int] = []

    def add(self, parts: Sequence[Part], stores: dict[TokenSequence, KeyValueStore]) -> list[PackedSpan]:
        """Put parts at its end; gives their spans."""
        first = len(self.spans)
        for part in parts:
            rows = slice(len(self.ids), len(self.ids) + part.count)
            self.ids += part.sequence.ids[part.start : part.stop]
            self._positions += range(part.start, part.stop)
            self.spans.append(PackedSpan(rows, part.start, stores[part.sequence]))
            self._kept += range(rows.stop - part.logits_count, rows.stop)
        self.parts += parts
        return self.spans[first:]

    def compute(self, model: Any, batches: Sequence[BatchedRows]) -> Tensor:
        """The logits that its parts want, one part after the other. The caller holds the lock."""
        return compute_packed(model, self.ids, self._positions, self.spans, self._kept, batches)

    def finish(self, logits: Tensor, capture: Capture | None = None) -> list[Tensor | Exception | None]:
        """Tell watchers, and give each part the logits to draw from, or what its watcher raised."""
        found: list[Tensor | Exception | None] = []
        counts = [part.logits_count for part in self.parts]
        for part, span, rows in zip(self.parts, self.spans, logits.split(counts), strict=True):
            try:
                found.append(finish(part, span.rows, capture, rows))
            except Exception as exc:
                found.append(exc)
        return found


class SoloForward:
    """Forwards of one sequence through the model's own cache."""

    def __init__(self, loaded: LoadedModel, sequence: TokenSequence) -> None:
        self.loaded = loaded
        self.sequence = sequence
        self._kwargs: dict[str, Any] = {}
        self._state = ModuleState(loaded.model)

    @torch.no_grad()
    def run(self) -> Tensor | None:
        """Compute all that is pending; the last position's logits, Float[Tensor, "vocab"], where it draws."""
        model: Any = self.loaded.model
        with self.loaded.lock:
            inputs = self._prepare(model)
            # Where a text outgrows what its rotary embedding was made for, transformers may read all of it anew
            # (Phi-3): then so does whoever watches.
            count = inputs["input_ids"].shape[1]
            self.sequence.seen += self.sequence.pending - count
            part = Part(self.sequence, count)
            rows, watcher = slice(0, count), self.sequence.watcher
            if model._supports_logits_to_keep():
                inputs["logits_to_keep"] = choose_logits(part, self.loaded.device)
            with ExitStack() as stack:
                if watcher is not None:
                    stack.enter_context(watcher.watch(rows, part.start, part.stop))
                capture = open_capture(self.loaded, [part], stack)
                stack.enter_context(self._state.lent())
                stack.enter_context(self.loaded.lock.running(count))
                outputs = model(**inputs, return_dict=True)
            self._kwargs = model._update_model_kwargs_for_generation(outputs, self._kwargs)
            logits: Tensor = outputs.logits[0]
            return finish(part, rows, capture, logits[len(logits) - part.logits_count :])

    def _prepare(self, model: Any) -> dict[str, Any]:
        """The arguments of the next forward, as `generate()` would make them."""
        count = self.sequence.pending
        ids = self.sequence.ids[: self.sequence.seen + count]
        input_ids = torch.tensor([ids], device=self.loaded.device)
        is_first = not self._kwargs
        if is_first:
            self._kwargs = make_first_arguments(model, input_ids)
        inputs: dict[str, Any] = model.prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=None if is_first else count,
            is_first_iteration=is_first,
            **self._kwargs,
        )
        return inputs


def finish(part: Part, rows: slice, capture: Capture | None, logits: Tensor) -> Tensor | None:
    """Tell the watcher what a forward gave, and count its positions as seen; the logits to draw from, if any."""
    sequence, draws = part.sequence, part.draws
    if sequence.watcher is not None:
        sequence.watcher.see(capture, rows, logits)
    sequence.seen = part.stop
    return logits[-1] if draws else None


def open_capture(loaded: LoadedModel, parts: Sequence[Part], stack: ExitStack) -> Capture | None:
    """One capture of everything that the watchers of `parts` want from the next forward; None for nothing."""
    wanted = {address for part in parts for address in part.wanted} - {"lm_head"}
    if not wanted:
        return None
    return stack.enter_context(Capture(loaded.structure, wanted).open())


def choose_logits(part: Part, device: torch.device) -> int | Tensor:
    """For which rows of a forward a model computes logits, in the way that its `logits_to_keep` takes.

    Given a number of rows, some models leave all others out of their last blocks too (Gemma 4, where those share keys
    and values), which nobody may notice who watches.
    """
    if part.sequence.watcher is None:
        return 1
    first = part.count - max(1, part.logits_count)
    return torch.arange(first, part.count, device=device)
