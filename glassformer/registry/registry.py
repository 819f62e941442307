"""Which models are in memory: each loaded once however many ask, leased while in use, unloaded for room.

Threads, no event loop: `load` gives a `concurrent.futures.Future`, listeners are called from the loading thread.
Memory is counted in bytes of weights, for each kind of device apart; what a model needs is known from the headers
of its weight files and set aside before it is read. A model that is leased, pinned or loading is never unloaded.
The lock is held for look-ups and counting alone, never while a disk, the hub or a model is waited for.
"""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from glassformer.errors import GlassformerError, InUse, ModelFailed, NoRoom, Unavailable
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.files.size import describe_download
from glassformer.files.stock import take_stock_of
from glassformer.importing import import_torch
from glassformer.loading.memory import Room, measure_room
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import WEIGHT_SHARE, describe_no_room, plan_form, refuse_too_large
from glassformer.protocol.messages import LoadProgress, ModelSummary
from glassformer.registry.entry import Entry, Listener, Stage, User, blame_options, forget
from glassformer.registry.idle import is_used, refuse_to_unload, take_idle, take_out
from glassformer.registry.over import choose_options, hold_base, load_over
from glassformer.registry.summary import list_offered, summarise
from glassformer.registry.surveys import Surveys
from glassformer.vetting.source import plan_stranger, vet_source

if TYPE_CHECKING:
    from glassformer.loading.form.form import Form
    from glassformer.loading.loaded import LoadedModel
    from glassformer.loading.plan import Plan

log = logging.getLogger(__name__)

# Two at a time: one large download must not keep a bundled model waiting, and more would share the same disk.
LOADING_THREADS = 2
MOST_PENDING = 16  # loads under way or waiting; more are refused rather than queued behind hours of downloads
MOST_FAILED = 64  # remembered, so that a client trying names cannot fill the memory
# How long a model that has been loaded in another way waits for what still uses the one it replaces.
REPLACING_SECS = 30.0


class Registry:
    """The models in memory and on their way there."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str = "none",
        budget_bytes: int = 0,
        copies_weights: bool = True,
        compiles_blocks: bool = False,
        checks_later: bool = False,
        load_secs: float = math.inf,
        on_unload: Callable[[LoadedModel], None] | None = None,
    ) -> None:
        """`checks_later` gives a model as soon as it writes; it is checked and quickened behind whoever uses it."""
        self.catalog = catalog
        self.options = LoadOptions(device=device, dtype=dtype, quantize=quantize)
        self.budget_bytes = budget_bytes
        self._surveys = Surveys(self.options, budget_bytes)
        self.copies_weights = copies_weights
        self.compiles_blocks = compiles_blocks
        self.checks_later = checks_later
        self.load_secs = load_secs
        self.on_unload = on_unload
        self._entries: dict[str, Entry] = {}
        # Models that are being loaded in another way, beside the one that is there.
        self._trials: dict[str, Entry] = {}
        self._pinned: set[str] = set()
        self._is_closed = False
        self._lock = threading.RLock()
        self._slots = threading.Semaphore(LOADING_THREADS)

    # --- loading ---------------------------------------------------------------------------------

    def load(self, model_id: str, options: LoadOptions | None = None) -> Future[LoadedModel]:
        """The model, being loaded if need be. One that failed before is tried again.

        Without `options` a model that is there is taken as it is; with others than it was loaded with, it is loaded
        anew, and replaced once the new one has been seen to write. Raises BadValue, UnknownModel or InUse at once;
        other refusals come through the future, and leave what was there.
        """
        return self._enter(model_id, options).future

    def _enter(self, model_id: str, options: LoadOptions | None = None) -> Entry:
        with self._lock:
            entry = self._entries.get(model_id)
        source = self.catalog.find(model_id) if entry is None or entry.error is not None else entry.source
        known = self._find_known(source, options)
        if known is not None:
            return known
        with self._lock:
            known = self._entries.get(source.model_id)
        if known is not None and options is not None:
            self._check_again(known, options)
        with self._lock:
            # Another may have come first while the folder was read.
            return self._find_known(source, options) or self._try(self._entries[source.model_id], options)

    def _find_known(self, source: ModelSource, options: LoadOptions | None) -> Entry | None:
        """The entry that answers a load, started if there is none; None for one that must be loaded in another way."""
        with self._lock:
            known = self._entries.get(source.model_id)
            trial = self._trials.get(source.model_id)
            if known is None or known.error is not None:
                chosen = options or choose_options(self._entries, source, self.options)
                known = self._entries[source.model_id] = self._start(source, chosen)
            if options in (None, known.options):
                known.used_at_secs = time.monotonic()
                return known
            return trial if trial is not None and trial.options == options else None

    def _try(self, known: Entry, options: LoadOptions | None) -> Entry:
        """Load a model that is there in another way, beside it. With the lock held. Raises InUse."""
        if not known.future.done() or known.source.model_id in self._trials:
            raise InUse("The model is being loaded.", field="model_id")
        if is_used(self._entries, known, pinned=self._pinned):
            raise InUse("Something that is running uses the model.", field="model_id")
        trial = self._start(known.source, options or self.options, replaces=known)
        self._trials[known.source.model_id] = trial
        return trial

    def _check_again(self, entry: Entry, options: LoadOptions) -> None:
        """Refuse what a model that is there cannot be loaded with, before anything is read for it."""
        if entry.source.base is not None:
            raise InUse("An adapter is loaded as its base is; load that one so first.", field="model_id")
        if entry.loaded is not None and entry.folder is not None:
            import_torch()
            from glassformer.loading.form.recognise import open_form

            self._refuse_too_large(plan_form(options, open_form(entry.folder, entry.source.root)))

    def adopt(self, source: ModelSource, loaded: LoadedModel) -> None:
        """List a model that was loaded elsewhere in this process, by who holds it: it is never unloaded here."""
        with self._lock:
            if source.model_id not in self._entries:
                self._entries[source.model_id] = Entry.adopted(source, self.options, loaded)

    def listen(
        self, model_id: str, listener: Listener, options: LoadOptions | None = None
    ) -> tuple[Future[LoadedModel], Callable[[], None]]:
        """`load`, and call `listener` with the progress so far and every later one; gives a function that ends that.

        Asked for once: one that has failed when it is listened to is not tried again. A model that is being loaded in
        another way tells of that. Raises as `load`.
        """
        entry = self._enter(model_id, options)
        future = entry.future
        with self._lock:
            entry = self._trials.get(entry.source.model_id, entry)
            entry.listeners.append(listener)
            listener(entry.progress)

        def stop() -> None:
            with self._lock:
                if listener in entry.listeners:
                    entry.listeners.remove(listener)

        return future, stop

    def _start(self, source: ModelSource, options: LoadOptions, replaces: Entry | None = None) -> Entry:
        pending = [*self._entries.values(), *self._trials.values()]
        if sum(not entry.future.done() for entry in pending) >= MOST_PENDING:
            raise NoRoom("Many models are being loaded already; ask again later.", field="model_id")
        entry = Entry.queued(source, options, replaces)
        # A daemon: a server that is told to stop does not wait for a download of hours.
        threading.Thread(target=self._run, args=(entry,), name=f"load {source.model_id}", daemon=True).start()
        return entry

    def _run(self, entry: Entry) -> None:
        started = time.monotonic()
        try:
            # Of an adapter: before a slot is taken, which the base needs itself.
            base = hold_base(self, entry)
            with self._slots:
                entry.ends_at_secs = time.monotonic() + self.load_secs
                loaded = self._load(entry, base)
                self._list(entry, loaded)
        except GlassformerError as exc:
            self._fail(entry, exc)
        except BaseException as exc:
            log.exception("loading %s failed", entry.source.model_id)
            self._fail(entry, ModelFailed(f"The model could not be loaded ({type(exc).__name__})."))
        else:
            log.info("%s is ready after %.1f s", loaded.model_id, time.monotonic() - started)
            self.report(entry, "ready", fraction=1.0)

    def _list(self, entry: Entry, loaded: LoadedModel) -> None:
        """Let a model be used, in place of the one it replaces. Raises InUse where that goes on being used."""
        model_id, former = entry.source.model_id, entry.replaces
        patient_until_secs = time.monotonic() + REPLACING_SECS
        while True:
            with self._lock:
                is_there = former is not None and self._entries.get(model_id) is former
                if former is None or not is_there or not is_used(self._entries, former, pinned=self._pinned):
                    self._trials.pop(model_id, None)
                    going = take_out(self._entries, former) if former is not None and is_there else []
                    entry.settle(loaded)
                    self._entries[model_id] = entry
                    if self.checks_later and not self._is_closed:
                        self._look_after(entry, loaded)
                    break
            if time.monotonic() > patient_until_secs:
                raise InUse("Something that is running uses the model.", field="model_id")
            time.sleep(0.05)
        for each in going:
            self._let_go(each)

    def _look_after(self, entry: Entry, loaded: LoadedModel) -> None:
        from glassformer.registry.prepare import Aftercare, quicken_steps

        def quicken(pause: Callable[[], None]) -> None:
            pause()
            quicken_steps(loaded, spare_bytes=self._find_spare(loaded.device.type), pause=pause)
            with self._lock:
                entry.bytes = loaded.bytes

        # Compiled blocks are put in before anybody uses the model; an adapter multiplies as its base does.
        is_quick = self.compiles_blocks or loaded.base is not None
        entry.aftercare = Aftercare(loaded, None if is_quick else quicken)

    def _load(self, entry: Entry, base: LoadedModel | None) -> LoadedModel:
        loaded = self._read(entry) if base is None else load_over(self, entry, base)
        from glassformer.anatomy.checkup import Checkup
        from glassformer.registry.prepare import look_into, quicken_steps, try_writing

        self.report(entry, "checking")
        if self.checks_later:
            loaded.checkup = Checkup(loaded)
        else:
            look_into(loaded, lambda share: self.report(entry, "checking", fraction=share))
        if entry.replaces is not None or not entry.options.is_plain:
            try:
                try_writing(loaded)
            except ModelFailed as exc:
                raise blame_options(entry.options, exc) from exc
        if base is None and (self.compiles_blocks or not self.checks_later):
            spare_bytes = self._find_spare(str(loaded.device))
            quicken_steps(loaded, spare_bytes=spare_bytes, compiles_blocks=self.compiles_blocks)
        return loaded

    def _read(self, entry: Entry) -> LoadedModel:
        """A whole model, from wherever it lies into memory that was set aside for it."""
        source = entry.source
        if source.kind == "hub":
            self.report(entry, "downloading")
        folder = entry.folder = self.catalog.fetch(
            source,
            on_progress=lambda done, total: self.report(
                entry, "downloading", **describe_download(done, total)
            ),
            on_headers=lambda config, tensors: self._refuse_too_large(
                plan_stranger(entry.options, config, tensors)
            ),
        )
        self.report(entry, "reading")
        vet_source(source, folder)
        from glassformer.loading.form.recognise import open_form
        from glassformer.loading.load import load_form

        form = open_form(folder, source.root)
        plan = self._make_room(entry, form)
        return load_form(
            source, form, plan, on_fraction=lambda share: self.report(entry, "reading", fraction=share)
        )

    def _find_spare(self, place: str) -> int:
        """Bytes that copies of a model's weights may take: half of what is left, if there may be any."""
        room = measure_room(place)
        left = min(self.find_budget(room) - self.held_bytes(room.kind), room.free_bytes)
        return left // 2 if self.copies_weights else 0

    def _fail(self, entry: Entry, error: GlassformerError) -> None:
        with self._lock:
            if not entry.end(error):
                return
            if entry.replaces is not None:
                self._keep_former(entry, entry.replaces, error)
            forget(self._entries, MOST_FAILED)
        log.warning("loading %s failed: %s", entry.source.model_id, error.message)
        self.report(entry, "failed", detail=error.message)

    def give_up(self, loaded: LoadedModel, error: GlassformerError) -> None:
        """List a model that was ready as failed, whoever still uses it; the next `load` reads it anew."""
        with self._lock:
            entry = self._entries.get(loaded.model_id)
            if entry is None or entry.loaded is not loaded:
                return
            self._entries[loaded.model_id] = entry.as_failed(error)
        self._let_go(entry)

    def _keep_former(self, entry: Entry, former: Entry, error: GlassformerError) -> None:
        """After a model could not be replaced: the one before stays, or comes back. With the lock held."""
        model_id = entry.source.model_id
        self._trials.pop(model_id, None)
        entry.replaces = None
        if self._entries.get(model_id) is entry:
            # There was no room for both.
            with suppress(NoRoom):  # too many are being loaded: it is when it is next asked for
                former = self._entries[model_id] = self._start(former.source, former.options)
        former.refusal = error.message

    def report(self, entry: Entry, stage: Stage, **more: Any) -> None:
        """Tell how far a load is. Raises what one that is under way has been ended with."""
        if stage not in {"ready", "failed"}:
            entry.go_on()
        if stage != entry.progress.stage:
            log.info("%s: %s", entry.source.model_id, stage)
        with self._lock:
            progress, listeners = entry.move_to(stage, **more)
        for listener in listeners:
            listener(progress)

    # --- room ------------------------------------------------------------------------------------

    def find_budget(self, room: Room) -> int:
        """Bytes of weights that models on one kind of device may take together."""
        return self.budget_bytes or int(room.total_bytes * WEIGHT_SHARE.get(room.kind, 0.6))

    def _refuse_too_large(self, plan: Plan) -> None:
        """Raise NoRoom for what would not fit even alone."""
        refuse_too_large(plan, self.find_budget(measure_room(plan.place)))

    def _make_room(self, entry: Entry, form: Form) -> Plan:
        """Set the memory aside, unloading idle models, longest unused first, until it fits. Raises NoRoom."""
        while True:
            # Anew each time: where a model goes depends on what is free.
            plan = plan_form(entry.options, form)
            self._refuse_too_large(plan)
            room = measure_room(plan.place)
            with self._lock:
                held = self.held_bytes(room.kind)
                left = self.find_budget(room) - held
                if plan.needed_bytes <= min(left, room.free_bytes):
                    entry.kind, entry.bytes = room.kind, plan.needed_bytes
                    return plan
                kept = self._pinned | self._trials.keys()
                going = take_idle(self._entries, room.kind, kept=kept) or self._take_replaced(entry)
            if not going:
                raise describe_no_room(plan.needed_bytes, left, room, is_held=held > 0)
            for each in going:
                self._let_go(each)

    def _take_replaced(self, entry: Entry) -> list[Entry]:
        """Take out the model that `entry` is to replace, where there is no room for both. With the lock held."""
        former, model_id = entry.replaces, entry.source.model_id
        if (
            former is None
            or self._entries.get(model_id) is not former
            or is_used(self._entries, former, pinned=self._pinned)
        ):
            return []
        going = take_out(self._entries, former)
        self._entries[model_id] = entry
        return going

    def _let_go(self, entry: Entry) -> None:
        """Give the memory of a model back that is no longer listed. Without the lock."""
        loaded, model_id, kind = entry.loaded, entry.source.model_id, entry.kind
        if loaded is not None and self.on_unload is not None:
            self.on_unload(loaded)
        if entry.aftercare is not None:
            entry.aftercare.stop()
        if loaded is not None and loaded.checkup is not None:
            loaded.checkup.end()
        # Modules and hooks refer to each other; their memory is wanted now. Who still holds the entry (a listener
        # that has not gone yet) must not keep the model with it.
        entry.future = Future()
        del loaded
        gc.collect()
        if kind == "cuda":
            import torch

            torch.cuda.empty_cache()
        log.info("%s is unloaded", model_id)

    def held_bytes(self, kind: str) -> int:
        """Bytes of weights on a kind of device, of models that are there or being read."""
        with self._lock:
            entries = {*self._entries.values(), *self._trials.values()}
            return sum(entry.bytes for entry in entries if entry.kind == kind)

    # --- using -----------------------------------------------------------------------------------

    def use(self, loaded: LoadedModel) -> AbstractContextManager[None]:
        """Keep `loaded` in memory meanwhile. Raises InUse where it has just been unloaded."""
        return self._count(loaded, "leases")

    def looking(self, loaded: LoadedModel) -> AbstractContextManager[None]:
        """Somebody looks at what `loaded` computed: of the models that nothing uses it goes last. Raises as `use`."""
        return self._count(loaded, "lookers")

    @contextmanager
    def _count(self, loaded: LoadedModel, who: User) -> Iterator[None]:
        with self._lock:
            entry = self._entries.get(loaded.model_id)
            if entry is None or entry.loaded is not loaded:
                raise InUse("The model has just been unloaded; ask again.", field="model_id")
            entry.count(who, 1)
        try:
            yield
        finally:
            with self._lock:
                entry.count(who, -1)

    def unload(self, model_id: str) -> None:
        """Give the model's memory back, and that of adapters over it; nothing happens where it is not loaded.

        One on its way is cancelled: who waits for it hears Unavailable. Raises InUse, and leaves all as it was, while
        it or an adapter over it is used, pinned or loaded anew; BadValue or UnknownModel as `load`.
        """
        with self._lock:
            is_known = model_id in self._entries
        canonical = model_id if is_known else self.catalog.find(model_id).model_id
        with self._lock:
            entry = self._entries.get(canonical)
            if entry is None:
                return
            if not entry.future.done():
                self._fail(entry, Unavailable("The loading of the model was cancelled.", retry_after_secs=1))
                self._entries.pop(canonical, None)
                return
            refuse_to_unload(self._entries, entry, trials=self._trials, pinned=self._pinned)
            going = take_out(self._entries, entry)
        for each in going:
            self._let_go(each)

    def pin(self, model_id: str, *, pinned: bool = True) -> None:
        """Keep the model from being unloaded, once it is there; or no longer. Raises BadValue or UnknownModel."""
        canonical = self.catalog.find(model_id).model_id
        with self._lock:
            (self._pinned.add if pinned else self._pinned.discard)(canonical)

    def close(self, wait_secs: float = 0.0) -> None:
        """End for good what is done for models behind those who use them; waits so long for all, or not at all."""
        with self._lock:
            self._is_closed = True
            entries = {*self._entries.values(), *self._trials.values()}
            under_way = [entry.aftercare for entry in entries if entry.aftercare is not None]
        for aftercare in under_way:
            aftercare.leave()
        until_secs = time.monotonic() + wait_secs
        for aftercare in under_way:
            aftercare.wait(max(0.0, until_secs - time.monotonic()))

    def count_ready(self) -> int:
        with self._lock:
            return sum(entry.loaded is not None for entry in self._entries.values())

    def is_ready(self, model_id: str) -> bool:
        with self._lock:
            return (entry := self._entries.get(model_id)) is not None and entry.loaded is not None

    # --- telling ---------------------------------------------------------------------------------

    def progress(self, model_id: str) -> LoadProgress | None:
        """How far loading is; None where it was never asked for."""
        with self._lock:
            return entry.progress if (entry := self._entries.get(model_id)) else None

    def summaries(self) -> list[ModelSummary]:
        """Bundled models, folders, and whatever else was asked for."""
        sources = self.catalog.list()
        with self._lock:
            entries = dict(self._entries)
        until_secs = self._surveys.begin()
        return [
            self._summarise(source, entries.get(source.model_id), until_secs)
            for source in list_offered(sources, entries)
        ]

    def summary(self, model_id: str) -> ModelSummary:
        """One model. Raises BadValue or UnknownModel."""
        with self._lock:
            entry = self._entries.get(model_id)
        source = entry.source if entry else self.catalog.find(model_id)
        with self._lock:
            entry = self._entries.get(source.model_id)
        return self._summarise(source, entry, self._surveys.begin())

    def _summarise(self, source: ModelSource, entry: Entry | None, until_secs: float) -> ModelSummary:
        place = self.catalog.find_here(source)
        model_id, stock = source.model_id, take_stock_of(source, place)
        survey = None if entry and entry.loaded else self._surveys.find(source, place, until_secs)
        is_tried, is_pinned = model_id in self._trials, model_id in self._pinned
        return summarise(source, entry, stock=stock, survey=survey, is_tried=is_tried, is_pinned=is_pinned)
