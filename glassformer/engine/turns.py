"""Generations of one model taking turns on one thread, a step each, so that every stream moves.

A job is an iterator: `next` is one step. Knows nothing about what the steps do.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from glassformer.errors import TooMany

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """One generation. `on_step` and `on_end` are called from the worker's thread and must not block or raise.

    `on_end` is called exactly once, with the exception that ended the job, if any.
    """

    steps: Iterator[T]
    on_step: Callable[[T], None]
    on_end: Callable[[BaseException | None], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End within one step; harmless at any time."""
        self.cancelled.set()


class Turns:
    """A thread that runs up to `max_running` jobs in turn while `max_waiting` more wait, first come first served."""

    def __init__(self, name: str, *, max_running: int, max_waiting: int) -> None:
        self.name = name
        self.max_running = max_running
        self.max_waiting = max_waiting
        self._jobs: deque[Job[object]] = deque()
        self._waiting: deque[Job[object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs) + len(self._waiting)

    def submit(self, job: Job[T]) -> Job[T]:
        """Queue `job`. Raises TooMany where the queue is full."""
        with self._changed:
            if self._closed:
                raise TooMany("The server is stopping.", retry_after_secs=5)
            if len(self) >= self.max_running + self.max_waiting:
                raise TooMany("Too many generations are waiting for this model.", retry_after_secs=2)
            self._waiting.append(job)  # type: ignore[arg-type]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return job

    def close(self) -> None:
        """Cancel every job; returns at once, the thread ends within one step."""
        with self._changed:
            self._closed = True
            for job in (*self._jobs, *self._waiting):
                job.cancel()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._waiting and len(self._jobs) < self.max_running:
                    self._jobs.append(self._waiting.popleft())
                if not self._jobs:
                    if self._closed:
                        return
                    self._changed.wait()
                    continue
                job = self._jobs[0]
            if self._step(job):
                with self._changed:
                    self._jobs.rotate(-1)
            else:
                with self._changed:
                    self._jobs.remove(job)

    def _step(self, job: Job[object]) -> bool:
        """Run one step; whether the job goes on."""
        error: BaseException | None = None
        try:
            if not job.cancelled.is_set():
                job.on_step(next(job.steps))
                return True
        except StopIteration:
            pass
        except BaseException as exc:
            error = exc
        close = getattr(job.steps, "close", None)
        try:
            if close is not None:
                close()
            job.on_end(error)
        except Exception:
            log.exception("ending a generation failed")
        return False
