"""Who may run a model: one at a time, and those who can wait only while nobody else wants it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

# How long nobody may have used a model before work that can wait goes on: steps of a text follow each other sooner.
QUIET_SECS = 0.25
# Work that can wait does not wait for ever: where texts are written without a pause, one piece is done this often.
PATIENCE_SECS = 20.0


class ModelLock:
    """A reentrant lock that knows when somebody last used what it guards."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._used_at_secs = -QUIET_SECS

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._used_at_secs = time.monotonic()
        self._lock.release()

    def is_owned(self) -> bool:
        """Whether this thread holds it."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

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
        self._lock.acquire()
        used_at_secs = self._used_at_secs
        try:
            yield
        finally:
            self._used_at_secs = used_at_secs
            self._lock.release()
