"""The engine: one thread that owns a model and moves all its generations, a step at a time.

Sequences join and leave between steps. In a step every sequence that writes gets one row, and those that still read
their prompts share what is left of the step's rows (chunked prefill: Agrawal et al. 2024, "Sarathi-Serve", section
4), so that a long prompt does not stall the others. Knows neither HTTP nor recordings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from torch import Tensor

from glassformer.budget import Budget
from glassformer.compute.computing import working
from glassformer.compute.key_value import KeyValueStore
from glassformer.compute.shortage import is_shortage
from glassformer.engine.company import run_in_company
from glassformer.engine.forward import PackedForward, Part, SoloForward
from glassformer.engine.meter import Meter
from glassformer.engine.pace import Pace
from glassformer.engine.prefix import PrefixCache
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.engine.step_plan import SHARED_SECS, plan
from glassformer.engine.turns import Turns
from glassformer.errors import ModelFailed, Stopping, TooMany, Unavailable
from glassformer.loading.loaded import LoadedModel

log = logging.getLogger(__name__)

# How long the thread of an idle engine stays. It takes the library's own threads along when it ends, which otherwise
# would slow the engine of another model (docs/decisions/0007).
IDLE_SECS = 2.0
# A prompt up to here is read at once, as `generate()` does, while it is not known if generations can share forwards.
FIRST_ROWS = 64
# All clients together have room for so many times what one has.
MOST_CLIENTS = 16


class UnderWay:
    """The keys and values of generations under way, as a budget sees them: they are needed, and cannot go.

    Those of recorded runs are left to these, whose bytes are set aside before they start.
    """

    is_looked_at = True

    def __init__(self, stores: dict[TokenSequence, KeyValueStore]) -> None:
        self._stores = stores

    @property
    def nbytes(self) -> int:
        return sum(store.nbytes for sequence, store in list(self._stores.items()) if sequence.watcher is None)

    def give_up(self) -> bool:
        return False


class Engine:
    """Runs up to `max_running` sessions together while up to `max_waiting` more of each client wait (`Turns`)."""

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        max_running: int,
        max_waiting: int,
        prefix_bytes: int = 0,
        budget: Budget | None = None,
        on_death: Callable[[Unavailable], None] = lambda error: None,
        meter: Meter | None = None,
    ) -> None:
        """Keeps at most `prefix_bytes` of what it has read before, in `budget` where that is shared.

        `on_death` hears, from the engine's thread, that this engine computes nothing any more, and why.
        """
        self.loaded = loaded
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.on_death = on_death
        self.meter = meter or Meter()
        self._running: list[Session] = []
        self._waiting = Turns()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._death: Unavailable | None = None
        # From here on the engine's thread alone.
        self._packed = PackedForward(loaded)
        self._stores: dict[TokenSequence, KeyValueStore] = {}
        self._solos: dict[TokenSequence, SoloForward] = {}
        self._budget = budget or Budget(prefix_bytes)
        self._prefixes = PrefixCache(prefix_bytes, self._budget)
        self._under_way = UnderWay(self._stores)
        self._pace = Pace()
        self._steps = 0

    def __len__(self) -> int:
        """Sessions running and waiting."""
        return self.running + self.waiting

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def key_value_bytes(self) -> int:
        """Memory of keys and values: of texts under way that no recording holds, and of what was read before."""
        return self._under_way.nbytes + self._prefixes.nbytes

    def submit(self, session: Session) -> None:
        """Queue a session. Raises TooMany where its client has no room left, and Stopping after `close`."""
        with self._changed:
            if self._death is not None:
                raise self._death
            if self._closed:
                raise Stopping
            room = self.max_running + self.max_waiting
            own = sum(each.client == session.client for each in (*self._running, *self._waiting))
            if own >= room or len(self) >= MOST_CLIENTS * room:
                raise TooMany("Too many generations are waiting for this model.", retry_after_secs=2)
            self._budget.look_at(self._under_way)
            if self._thread is None:
                name = f"engine {self.loaded.model_id}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                thread.start()  # raises where the system has none left
                self._thread = thread
            self._waiting.put(session)
            self._changed.notify()

    def close(self) -> None:
        """Cancel every session; returns at once, the thread ends within one step."""
        with self._changed:
            self._closed = True
            for session in (*self._running, *self._waiting):
                session.cancel()
            if self._thread is None:
                self._let_memory_go()
            self._changed.notify()

    def _let_memory_go(self) -> None:
        self._prefixes.clear()
        self._budget.drop(self._under_way)

    def join(self, timeout_secs: float) -> None:
        """Wait, once closed, for the thread to end: a process that ends while it computes does not end well."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_secs)

    # --- the engine's thread -----------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as exc:  # a panic of native code is no Exception
            log.exception("the engine of %s has died", self.loaded.model_id)
            self._die(exc)

    def _die(self, exc: BaseException) -> None:
        """Tell everybody who waits, and whoever keeps the model, that nothing more will come."""
        error = Unavailable(
            f"The model failed while it was computing ({type(exc).__name__}); the next request loads it anew.",
            retry_after_secs=1,
        )
        with self._changed:
            self._death = error
            left = [*self._running, *self._waiting]
            self._running.clear()
            self._waiting.clear()
        self._stores.clear()
        self._solos.clear()
        self._let_memory_go()
        # Whoever is told to ask again must not meet a model that still counts as ready.
        self.on_death(error)
        for session in left:
            try:
                session.on_end(error)
            except BaseException:
                log.exception("ending a generation failed")

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._running and not self._waiting:
                    if self._closed:
                        self._let_memory_go()
                        return
                    notified = self._changed.wait(IDLE_SECS)
                    if not notified and not self._waiting and not self._closed:
                        self._thread = None
                        return
            try:
                with working():
                    self._join_waiting()
                    self._step()
            except Exception as exc:  # of whatever cause: the thread lives as long as there are sessions
                log.exception("a step of %s failed", self.loaded.model_id)
                for session in self._running[:]:
                    self._end(session, exc)

    def _join_waiting(self) -> None:
        """Let in those whose turn it is. Who gives way keeps what it has read."""
        with self._changed:
            joining, leaving = self._waiting.share(self._running, self.max_running)
            self._running = [session for session in self._running if session not in leaving] + joining
        for session in joining:
            try:
                self._begin(session)
            except Exception as exc:
                self._end(session, exc)

    def _begin(self, session: Session) -> None:
        sequence = session.sequence
        if sequence in self._solos or sequence in self._stores:
            return
        session.on_begin()
        self.meter.begin(time.monotonic() - session.asked_at)
        if self._goes_first(sequence) or self.loaded.packing_fault is not None:
            self._solos[sequence] = SoloForward(self.loaded, sequence)
        elif sequence.is_alone:
            self._stores[sequence] = KeyValueStore()
        else:
            self._stores[sequence], sequence.seen = self._prefixes.take(sequence)
            self.meter.look_up(len(sequence.request.token_ids), sequence.seen)

    def _goes_first(self, sequence: TokenSequence) -> bool:
        """Whether a text is short and alone, and need not wait until it is known if others could join it.

        One that is watched waits: the next to be looked at is likely to begin like it, and can only take over its rows
        from a store.
        """
        is_short = sequence.watcher is None and sequence.pending <= FIRST_ROWS
        return is_short and len(self._running) == 1 and not self.loaded.knows_packing

    def _step(self) -> None:
        """One step of every session: a shared forward, and one each for those that cannot share."""
        with self._changed:
            left = [session for session in self._waiting if session.sequence.cancelled.is_set()]
        for session in left:
            self._end(session, None)
        for session in [session for session in self._running if session.sequence.is_over]:
            self._end(session, None)
        apart = [session for session in self._running if self._is_apart(session.sequence)]
        together = [session for session in self._running if session not in apart]
        for session in self._choose_apart(apart):
            sequence = session.sequence
            allowed = sequence.pending if sequence in self._solos else self._pace.count_rows(SHARED_SECS)
            self._run_alone(session, min(sequence.pending, allowed), allowed)
        if together:
            self._run_together(together)

    def _is_apart(self, sequence: TokenSequence) -> bool:
        return sequence in self._solos or sequence.is_alone

    def _choose_apart(self, apart: list[Session]) -> list[Session]:
        """Who moves alone in this step: all of one client; where several ask, of each the one that waited longest."""
        if len({session.client for session in self._running}) > 1:
            first: dict[str, Session] = {}
            for session in sorted(apart, key=lambda session: session.moved_at):
                first.setdefault(session.client, session)
            apart = list(first.values())
        self._steps += 1
        for session in apart:
            session.moved_at = self._steps
        return apart

    def _run_alone(self, session: Session, count: int, allowed: int) -> None:
        sequence = session.sequence
        logits: Tensor | Exception | None
        try:
            solo = self._solos.get(sequence)
            if solo is not None:
                logits = solo.run()
            else:
                (logits,) = self._run_packed([Part(sequence, count)], allowed=allowed)
        except Exception as exc:
            self._end(session, exc)
        else:
            self._draw(session, logits)

    def _run_together(self, sessions: list[Session]) -> None:
        parts, allowed = plan(sessions, self._pace)
        by_sequence = {session.sequence: session for session in sessions}
        try:
            found = self._run_packed(parts, allowed=allowed)
        except Exception as exc:
            # One of them may be at fault, or all of them together too large: each alone shows which.
            log.warning("a step of %d generations failed (%s)", len(parts), type(exc).__name__)
            for part in parts:
                self._run_alone(by_sequence[part.sequence], part.count, allowed)
            return
        for part, logits in zip(parts, found, strict=True):
            self._draw(by_sequence[part.sequence], logits)

    def _run_packed(self, parts: list[Part], *, allowed: int) -> list[Tensor | Exception | None]:
        """One packed forward, of which the pace is learnt where it reads a prompt."""
        started = time.perf_counter()
        found = run_in_company(self._packed, parts, self._stores)
        rows = sum(part.count for part in parts)
        if rows > len(parts):
            self._pace.learn(rows, time.perf_counter() - started, allowed=allowed)
        return found

    def _draw(self, session: Session, logits: Tensor | Exception | None) -> None:
        if session.sequence.cancelled.is_set():
            return
        try:
            if isinstance(logits, Exception):
                raise logits
            if logits is not None:
                session.on_step(session.sequence.draw(logits))
                self._tell(session)
        except Exception as exc:
            self._end(session, exc)

    def _tell(self, session: Session) -> None:
        now = time.monotonic()
        if session.told_at is None:
            self.meter.write_first(now - session.asked_at)
        else:
            self.meter.write_next(now - session.told_at)
        session.told_at = now

    def _end(self, session: Session, error: BaseException | None) -> None:
        sequence = session.sequence
        with self._changed:
            (self._running if session in self._running else self._waiting).remove(session)
        self._solos.pop(sequence, None)
        store = self._stores.pop(sequence, None)
        if store is not None:
            # Of one that was left nothing is kept: its memory is free at once.
            self._put_away(sequence, store, keeps=error is None and not sequence.cancelled.is_set())
        if error is not None and is_shortage(error):
            error = ModelFailed("The memory of this machine does not hold so long a generation.")
        try:
            session.on_end(error)
        except Exception:
            log.exception("ending a generation failed")

    def _put_away(self, sequence: TokenSequence, store: KeyValueStore, *, keeps: bool) -> None:
        keeps = keeps and not sequence.is_alone and self._prefixes.has_room(sequence, store)
        try:
            self._packed.release(store, sequence.seen if keeps else 0)
        except Exception as exc:
            log.warning("what a generation has read is not kept (%s)", exc)
            with suppress(Exception):
                self._packed.release(store, 0)
        else:
            if keeps:
                self._prefixes.put(sequence, store)
