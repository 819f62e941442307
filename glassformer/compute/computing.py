"""Everything that computes with a model does it inside `computing`, which gives it its threads.

Cores belong to the process, so there is one count for all models. `torch.set_num_threads` holds for the thread that
calls it and for threads that begin later (0.1 us); it is set back afterwards, so that whoever uses torch in this
process beside us keeps what they chose, which is never exceeded.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from glassformer.compute.thread_count import Step, ThreadCount

# Set to 1 to leave torch's threads alone.
FIXED = "GLASSFORMER_FIXED_THREADS"
CLOCK = Path("/proc/stat")
# Idle time is counted in hundredths of a second: less than this says nothing.
IDLE_WINDOW_SECS = 0.25
FIRST_LOOK_SECS = 0.1
# After a pause as long as this the idle time tells what others leave, for we took next to nothing in it.
PAUSE_SECS = 1.0


class Crew:
    """Who computes in this process now, and how many threads each has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, ThreadCount] = {}
        self._computing: set[int] = set()
        self._idle = IdleCores()
        self._ended_at_secs = 0.0
        # What torch was told by others: in the process, and in each thread that has computed here.
        self._limit = 0
        self._local = threading.local()

    @contextmanager
    def computing(self, rows: int, kind: str = "forward", *, is_step: bool = True) -> Iterator[None]:
        """Around a forward of `rows` rows, or the part of one that `kind` names; within another it does nothing.

        What is no step says nothing of how many threads steps should have: a single small module leaves all but one
        idle.
        """
        thread = threading.get_ident()
        if thread in self._computing or os.environ.get(FIXED) == "1":
            yield
            return
        limit = self._find_limit()
        threads = self._enter(thread, limit)
        torch.set_num_threads(threads)
        wall_secs, cpu_secs = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall_secs, cpu_secs = time.perf_counter() - wall_secs, time.process_time() - cpu_secs
            if not self._is_own:
                torch.set_num_threads(limit)
            self._local.limit = limit
            now_secs = time.monotonic()
            with self._lock:
                self._computing.remove(thread)
                self._ended_at_secs = now_secs
                if limit > 1 and is_step:
                    step = Step(kind, rows, threads, wall_secs, cpu_secs, self._idle.read(), now_secs)
                    self._counts[limit].observe(step)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around all that a thread of our own does: between two pieces of computing it keeps the threads of the last.

        Drawing tokens, copying rows and forming numbers to be shown are dozens of small operations a step. With threads
        that lack cores each of them would be waited for.
        """
        limit = self._find_limit()
        self._local.limit, self._local.is_own = limit, os.environ.get(FIXED) != "1"
        if self._is_own and limit > 1:
            with self._lock:
                torch.set_num_threads(self._counts.setdefault(limit, ThreadCount(limit)).count)
        try:
            yield
        finally:
            self._local.is_own = False
            torch.set_num_threads(limit)

    @property
    def _is_own(self) -> bool:
        return getattr(self._local, "is_own", False)

    @property
    def is_computing(self) -> bool:
        """Whether this thread is inside."""
        return threading.get_ident() in self._computing

    def _find_limit(self) -> int:
        """How many threads others have told torch to use, in this thread.

        One that begins while somebody computes inherits what is set there for the moment.
        """
        if self._is_own:
            limit: int = self._local.limit
            return limit
        found = torch.get_num_threads()
        known = getattr(self._local, "limit", self._limit)
        if found != known:
            with self._lock:
                if hasattr(self._local, "limit") or not self._limit:
                    self._limit = found
                elif not self._computing:
                    self._limit = read_new_threads()
                return self._limit
        return found

    def _enter(self, thread: int, limit: int) -> int:
        """How many threads one gets that begins to compute: all there are, shared among those who do."""
        with self._lock:
            known = self._counts.setdefault(limit, ThreadCount(limit))
            if limit > 1 and not self._computing and time.monotonic() - self._ended_at_secs > PAUSE_SECS:
                idle = self._idle.read()
                if idle is not None:
                    known.begin(idle)
            self._computing.add(thread)
            return max(1, known.count // len(self._computing))


def read_new_threads() -> int:
    """What torch would use in a thread that begins now."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


class IdleCores:
    """How many of the cores that this process may use nobody used lately."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._cores: float | None = None

    def read(self) -> float | None:
        """Cores, over the last quarter of a second or longer; None where the system does not say.

        The first time it takes a tenth of a second: a first step that waits for others can take a hundred times that.
        """
        if self._last is None:
            self._take(time.monotonic())
            time.sleep(FIRST_LOOK_SECS)
            self._take(time.monotonic())
        elif time.monotonic() - self._last[0] >= IDLE_WINDOW_SECS:
            self._take(time.monotonic())
        return self._cores

    def _take(self, now_secs: float) -> None:
        idle_secs = read_idle_secs()
        if idle_secs is None:
            self._cores = None
        elif self._last is not None:
            self._cores = (idle_secs - self._last[1]) / (now_secs - self._last[0])
        self._last = now_secs, idle_secs or 0.0


def read_idle_secs() -> float | None:
    """Idle time of this process's cores since the machine started (`man 5 proc_stat`, fourth number of each)."""
    try:
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = [line.split() for line in CLOCK.read_text(encoding="ascii").splitlines()]
        found = [int(line[4]) for line in lines if line and line[0] in cores]
        return sum(found) / os.sysconf("SC_CLK_TCK") if found else None
    except (AttributeError, OSError, ValueError, IndexError):
        return None


CREW = Crew()
computing = CREW.computing
working = CREW.working
