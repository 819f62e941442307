"""Which models are in memory: each loaded once however many ask, leased while in use, unloaded for room.

Threads, no event loop: `load` gives a `concurrent.futures.Future`, listeners are called from the loading thread.
Memory is counted in bytes of weights; a model that is leased or loading is never unloaded.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glassformer.errors import BadValue, GlassformerError, InUse, ModelFailed, NoRoom
from glassformer.model.imports import import_torch
from glassformer.model.safety import check_folder, read_json_object
from glassformer.model.source import Catalog, ModelSource
from glassformer.protocol.messages import LoadProgress, ModelSummary

if TYPE_CHECKING:
    from glassformer.model.load import LoadedModel

log = logging.getLogger(__name__)

Listener = Callable[[LoadProgress], None]
Stage = Literal["queued", "downloading", "reading", "checking", "ready", "failed"]
# Two at a time: one large download must not keep a bundled model waiting, and more would share the same disk.
LOADING_THREADS = 2
# Loads under way or waiting; more are refused rather than queued behind hours of downloads.
MOST_PENDING = 16
# Failures remembered, so that a client trying names cannot fill the memory.
MOST_FAILED = 64
# Share of the machine's memory for weights where no number is set; the rest is for caches and recordings.
WEIGHT_SHARE = 0.6


@dataclass(eq=False)
class Entry:
    """One model and how far it is. Fields change only under the registry's lock."""

    source: ModelSource
    future: Future[LoadedModel]
    progress: LoadProgress
    listeners: list[Listener] = field(default_factory=list)
    leases: int = 0
    used_at_secs: float = 0.0

    @property
    def loaded(self) -> LoadedModel | None:
        if self.future.done() and self.future.exception() is None:
            return self.future.result()
        return None

    @property
    def error(self) -> GlassformerError | None:
        exc = self.future.exception() if self.future.done() else None
        return exc if isinstance(exc, GlassformerError) else None


class Registry:
    """The models in memory and on their way there."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        device: str = "auto",
        dtype: str = "auto",
        budget_bytes: int = 0,
        on_unload: Callable[[LoadedModel], None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.device = device
        self.dtype = dtype
        self.budget_bytes = budget_bytes or int(total_memory_bytes() * WEIGHT_SHARE)
        self.on_unload = on_unload
        self._entries: dict[str, Entry] = {}
        self._lock = threading.RLock()
        self._slots = threading.Semaphore(LOADING_THREADS)

    # --- loading ---------------------------------------------------------------------------------

    def load(self, model_id: str) -> Future[LoadedModel]:
        """The model, being loaded if need be. One that failed before is tried again.

        Raises BadValue or UnknownModel at once; other refusals come through the future.
        """
        with self._lock:
            entry = self._entries.get(model_id)
            if entry is None or entry.error is not None:
                entry = self._start(self.catalog.find(model_id))
            entry.used_at_secs = time.monotonic()
            return entry.future

    def listen(self, model_id: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with the progress so far and every later one; gives a function that ends that.

        Starts loading if need be. Raises as `load`.
        """
        with self._lock:
            self.load(model_id)
            entry = self._entries[self.catalog.find(model_id).model_id]
            entry.listeners.append(listener)
            listener(entry.progress)

        def stop() -> None:
            with self._lock:
                if listener in entry.listeners:
                    entry.listeners.remove(listener)

        return stop

    def _start(self, source: ModelSource) -> Entry:
        known = self._entries.get(source.model_id)
        if known is not None and known.error is None:
            return known
        if sum(not entry.future.done() for entry in self._entries.values()) >= MOST_PENDING:
            raise NoRoom("Many models are being loaded already; ask again later.", field="model_id")
        entry = Entry(source, Future(), LoadProgress(model_id=source.model_id, stage="queued"))
        # One that stops waiting must not cancel it for the others.
        entry.future.set_running_or_notify_cancel()
        self._entries[source.model_id] = entry
        # A daemon: a server that is told to stop does not wait for a download of hours.
        threading.Thread(target=self._run, args=(entry,), name=f"load {source.model_id}", daemon=True).start()
        return entry

    def _run(self, entry: Entry) -> None:
        started = time.monotonic()
        try:
            with self._slots:
                loaded = self._load(entry)
        except GlassformerError as exc:
            self._fail(entry, exc)
        except BaseException as exc:
            log.exception("loading %s failed", entry.source.model_id)
            self._fail(entry, ModelFailed(f"The model could not be loaded ({type(exc).__name__})."))
        else:
            log.info("%s is ready after %.1f s", loaded.model_id, time.monotonic() - started)
            with self._lock:
                entry.used_at_secs = time.monotonic()
                entry.future.set_result(loaded)
                self._report(entry, "ready", 1.0)

    def _load(self, entry: Entry) -> LoadedModel:
        source = entry.source
        if source.kind == "hub":
            self._report(entry, "downloading")
        folder = self.catalog.fetch(
            source, lambda fraction, detail: self._report(entry, "downloading", fraction, detail)
        )
        weights = check_folder(folder, source.root)
        self._report(entry, "reading")
        import_torch()
        from glassformer.model.load import estimate_bytes, load_model

        self._make_room(estimate_bytes(weights, device=self.device, dtype=self.dtype))
        loaded = load_model(source, folder, device=self.device, dtype=self.dtype)
        self._report(entry, "checking")
        look_into(loaded)
        return loaded

    def _fail(self, entry: Entry, error: GlassformerError) -> None:
        log.warning("loading %s failed: %s", entry.source.model_id, error.message)
        with self._lock:
            entry.future.set_exception(error)
            self._report(entry, "failed", None, error.message)
            failed = [model_id for model_id, other in self._entries.items() if other.error is not None]
            for model_id in failed[: len(failed) - MOST_FAILED]:
                del self._entries[model_id]

    def _report(self, entry: Entry, stage: Stage, fraction: float | None = None, detail: str = "") -> None:
        with self._lock:
            if stage != entry.progress.stage:
                log.info("%s: %s", entry.source.model_id, stage)
            entry.progress = LoadProgress(
                model_id=entry.source.model_id, stage=stage, fraction=fraction, detail=detail
            )
            listeners = list(entry.listeners)
        for listener in listeners:
            listener(entry.progress)

    def _make_room(self, needed_bytes: int) -> None:
        """Unload idle models, longest unused first, until `needed_bytes` fit. Raises NoRoom."""
        if needed_bytes > self.budget_bytes:
            raise NoRoom("The model is larger than the memory set aside for models.", field="model_id")
        while self.loaded_bytes() + needed_bytes > self.budget_bytes:
            with self._lock:
                idle = [entry for entry in self._entries.values() if entry.loaded and not entry.leases]
                if not idle:
                    raise NoRoom(
                        "There is no room for the model while others are in use.",
                        field="model_id",
                        retry_after_secs=10,
                    )
                self.unload(min(idle, key=lambda entry: entry.used_at_secs).source.model_id)

    # --- using -----------------------------------------------------------------------------------

    @contextmanager
    def use(self, loaded: LoadedModel) -> Iterator[LoadedModel]:
        """Keep `loaded` in memory meanwhile. Raises InUse where it has just been unloaded."""
        with self._lock:
            entry = self._entries.get(loaded.model_id)
            if entry is None or entry.loaded is not loaded:
                raise InUse("The model has just been unloaded; ask again.", field="model_id")
            entry.leases += 1
            entry.used_at_secs = time.monotonic()
        try:
            yield loaded
        finally:
            with self._lock:
                entry.leases -= 1
                entry.used_at_secs = time.monotonic()

    def unload(self, model_id: str) -> None:
        """Give the model's memory back; nothing happens where it is not loaded.

        Raises InUse while something uses it or it is being loaded, BadValue or UnknownModel as `load`.
        """
        with self._lock:
            canonical = model_id if model_id in self._entries else self.catalog.find(model_id).model_id
            entry = self._entries.get(canonical)
            if entry is None:
                return
            if not entry.future.done():
                raise InUse("The model is being loaded.", field="model_id")
            if entry.leases:
                raise InUse("Something that is running uses the model.", field="model_id")
            del self._entries[canonical]
        if entry.loaded is not None and self.on_unload is not None:
            self.on_unload(entry.loaded)
        del entry
        gc.collect()  # modules and hooks refer to each other; their memory is wanted now
        log.info("%s is unloaded", canonical)

    def loaded_bytes(self) -> int:
        with self._lock:
            return sum(entry.loaded.bytes for entry in self._entries.values() if entry.loaded)

    def count_ready(self) -> int:
        with self._lock:
            return sum(entry.loaded is not None for entry in self._entries.values())

    # --- telling ---------------------------------------------------------------------------------

    def progress(self, model_id: str) -> LoadProgress | None:
        """How far loading is; None where it was never asked for."""
        with self._lock:
            entry = self._entries.get(model_id)
            return entry.progress if entry else None

    def summaries(self) -> list[ModelSummary]:
        """Bundled models, folders, and whatever else was asked for."""
        offered = {source.model_id: source for source in self.catalog.list()}
        with self._lock:
            for model_id, entry in self._entries.items():
                # A mistyped hub id that failed is nobody's offer.
                if entry.error is None or model_id in offered:
                    offered.setdefault(model_id, entry.source)
            return [self._summarise(source) for source in offered.values()]

    def summary(self, model_id: str) -> ModelSummary:
        """One model. Raises BadValue or UnknownModel."""
        with self._lock:
            entry = self._entries.get(model_id)
            return self._summarise(entry.source if entry else self.catalog.find(model_id))

    def _summarise(self, source: ModelSource) -> ModelSummary:
        entry = self._entries.get(source.model_id)
        loaded = entry.loaded if entry else None
        status: Literal["available", "loading", "ready", "failed"] = "available"
        if entry is not None:
            status = "ready" if loaded else "failed" if entry.error else "loading"
        return ModelSummary(
            model_id=source.model_id,
            title=source.title or source.model_id,
            description=source.description,
            source=source.kind,
            status=status,
            family=loaded.config.model_type if loaded else read_family(source),
            parameters=loaded.parameters if loaded else None,
            prompts=list(source.prompts),
            error=entry.error.message if entry and entry.error else None,
        )


def look_into(loaded: LoadedModel) -> None:
    """Select the attention tap and describe the model. One that this fails for still writes, without an anatomy."""
    from glassformer.model.anatomy import build_anatomy
    from glassformer.model.attention import install

    try:
        install(loaded.model)
        loaded.anatomy = build_anatomy(loaded)
    except Exception:
        log.exception("looking into %s failed", loaded.model_id)


def read_family(source: ModelSource) -> str | None:
    """The model type a local config states, if it can be read."""
    if source.folder is None:
        return None
    try:
        family = read_json_object(Path(source.folder) / "config.json", "config.json").get("model_type")
    except GlassformerError:
        return None
    return family if isinstance(family, str) else None


def total_memory_bytes() -> int:
    """Memory of this machine, or of the control group it runs in, whichever is less."""
    import os

    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    if min(limits) <= 0:
        raise BadValue("The memory of this machine is not known; set model_bytes.", field="model_bytes")
    return min(limits)
