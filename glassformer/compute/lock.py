"""Who may run a model: one at a time, and those who can wait only while nobody else wants it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from glassformer.compute.computing import computing

# How long nobody may have used a model before work that can wait goes on: steps of a text follow each other sooner.
QUIET_SECS = 0.25
# Work that can wait does not wait for ever: where texts are written without a pause, one piece is done this often.
PATIENCE_SECS = 20.0


class ModelLock:
    """A reentrant lock that is handed on in the order in which it was asked for, and knows when it was last used.

    A plain one goes to whoever is quickest, which is the thread that has just let it go: work in many pieces, such as
    making a long recording again, would keep everybody's next token waiting for all of them instead of for one.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        # Those who wait, by their threads; who is handed the lock finds the gate open.
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._used_at_secs = -QUIET_SECS

    def __enter__(self) -> bool:
        self._acquire()
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._used_at_secs = time.monotonic()
        self._release()

    @contextmanager
    def running(self, rows: int, kind: str = "forward", *, is_step: bool = True) -> Iterator[None]:
        """Hold the lock and compute with this thread's share of the cores: whatever runs a module runs it inside.

        `rows`, `kind` and `is_step` are those of `computing`.
        """
        # The lock first: who waits for it needs no core.
        with self, computing(rows, kind, is_step=is_step):
            yield

    def _acquire(self) -> None:
        thread = threading.get_ident()
        if self._owner == thread:
            self._depth += 1
            return
        with self._mutex:
            if self._owner is None:
                self._owner, self._depth = thread, 1
                return
            gate = threading.Lock()
            gate.acquire()
            place = (thread, gate)
            self._waiting.append(place)
        try:
            gate.acquire()
        except BaseException:  # as when Ctrl-C is pressed meanwhile
            with self._mutex:
                has_left = place in self._waiting
                if has_left:
                    self._waiting.remove(place)
            if not has_left:
                self._release()
            raise

    def _release(self) -> None:
        self._depth -= 1
        if self._depth:
            return
        with self._mutex:
            if self._waiting:
                self._owner, gate = self._waiting.popleft()
                self._depth = 1
                gate.release()
            else:
                self._owner = None

    def is_owned(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    @contextmanager
    def when_quiet(self, stop: threading.Event) -> Iterator[bool]:
        """Hold the lock once nobody has for a while, which does not count as use; False if `stop` is set first."""
        patient_until_secs = time.monotonic() + PATIENCE_SECS
        while not stop.is_set():
            with self._aside():
                now = time.monotonic()
                if now - self._used_at_secs >= QUIET_SECS or now >= patient_until_secs:
                    yield True
                    return
            stop.wait(QUIET_SECS / 2)
        yield False

    @contextmanager
    def _aside(self) -> Iterator[None]:
        self._acquire()
        used_at_secs = self._used_at_secs
        try:
            yield
        finally:
            self._used_at_secs = used_at_secs
            self._release()
