"""How many threads a step is computed with: as many as the machine gives, found from the steps before. Pure.

Threads of OpenMP wait for each other, spinning, after each of the hundreds of small operations of a step. Beside a
process that keeps one of two cores busy, two of them take up to thirty times as long as one (docs/decisions/0011). So
fewer are tried when a step lacks processor time or is slow, more when cores stand idle, and what was tried is kept only
where it is quicker. Knows neither clocks nor torch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# Cores that a step may have less than it has threads: what a few interrupts take is not worth a trial.
MISSING_CORES = 0.35
# Core-seconds that one step alone must have lost for a trial; less than that must be lost in several.
LOST_SECS = 0.08
# How much longer than the usual one a step takes that makes others wait for it.
SLOW = 1.6
# Steps that are looked at together, and that a trial lasts.
WINDOW, TRIAL = 3, 3
# A trial that is so much slower than what was before ends with its first step.
HOPELESS = 2.0
# What a trial may lose and is kept with fewer threads, and what it must win with more.
AS_GOOD, BETTER = 1.05, 0.97
# Cores that must stand idle before more threads are tried.
IDLE_CORES = 0.6
# Seconds until fewer, or more, are tried again: at first, and once none has won for long.
SOONEST_SECS, LATEST_SECS = 1.0, 60.0
# More threads that had to be given up again within so many seconds were not worth it, though they had won: others come
# and go (a browser that draws). The next are tried the later, but a quiet machine is noticed within this time.
RESTLESS_SECS = 10.0
# Rows of two steps that can be compared differ at most by this factor.
ALIKE = 1.25
# How long a trial waits for steps like those that it began with.
PATIENCE_SECS = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of computing: `rows` rows in `wall_secs` with `threads` threads, ended at `now_secs`.

    `kind` says of what, for a row of a whole forward takes longer than a row of one block. `cpu_secs` is the processor
    time that the process had in it, `idle_cores` how many cores the machine had to spare just then, None where it does
    not say.
    """

    kind: str
    rows: int
    threads: int
    wall_secs: float
    cpu_secs: float
    idle_cores: float | None
    now_secs: float

    @property
    def lost_secs(self) -> float:
        """Core-seconds that its threads would have had on cores of their own."""
        return self.threads * self.wall_secs - self.cpu_secs

    @property
    def is_starved(self) -> bool:
        """Whether it had clearly less processor time than its threads could have taken."""
        return self.lost_secs > MISSING_CORES * self.wall_secs


class Window:
    """The last steps of one kind that can be compared with each other."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque(maxlen=WINDOW)
        # The quickest lately. Texts get longer, so what is usual does too.
        self.usual_secs = 0.0

    def add(self, step: Step) -> None:
        """Take a step in, and forget those that are not like it."""
        if self.steps and not are_alike(step.rows, self.steps[-1].rows):
            self.steps.clear()
            self.usual_secs = 0.0
        self.steps.append(step)
        self.usual_secs = min(self.usual_secs * 1.01 or step.wall_secs, step.wall_secs)

    @property
    def is_full(self) -> bool:
        return len(self.steps) == WINDOW

    @property
    def secs_per_row(self) -> float:
        return sum(step.wall_secs for step in self.steps) / sum(step.rows for step in self.steps)

    @property
    def given_cores(self) -> float:
        """Cores that the process had in these steps."""
        return sum(step.cpu_secs for step in self.steps) / sum(step.wall_secs for step in self.steps)

    @property
    def is_hindered(self) -> bool:
        """Whether fewer threads may do better: the last step clearly lost time, or all of them some."""
        last = self.steps[-1]
        is_slow = last.wall_secs > max(SLOW * self.usual_secs, self.usual_secs + LOST_SECS)
        if is_slow or (last.is_starved and last.lost_secs > LOST_SECS):
            return True
        return self.is_full and all(step.is_starved for step in self.steps)


@dataclass(frozen=True, slots=True)
class Trial:
    """Another number of threads, tried for some steps: what it is held against."""

    former: int
    kind: str
    rows: int
    secs_per_row: float
    began_at_secs: float


class Patience:
    """How long to wait until something is tried again: the longer, the more often it was not worth it."""

    def __init__(self) -> None:
        self.since_secs = -LATEST_SECS
        self._wait_secs = SOONEST_SECS

    def is_over(self, now_secs: float) -> bool:
        return now_secs - self.since_secs >= self._wait_secs

    def grow(self, now_secs: float, most_secs: float) -> None:
        """Wait twice as long as before, `most_secs` at most."""
        self.since_secs = now_secs
        self._wait_secs = max(self._wait_secs, min(most_secs, 2 * self._wait_secs))

    def reset(self, now_secs: float) -> None:
        """Wait as at first."""
        self.since_secs, self._wait_secs = now_secs, SOONEST_SECS


class ThreadCount:
    """`count` is how many threads the next step gets, from 1 to `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = limit
        self._windows: dict[str, Window] = {}
        self._trial: Trial | None = None
        self._fewer = Patience()
        self._more = Patience()
        self._raised_at_secs = -LATEST_SECS

    def observe(self, step: Step) -> None:
        """Take note of a step, and choose for the next."""
        if step.threads != self.count or step.wall_secs <= 0:
            return
        window = self._windows.setdefault(step.kind, Window())
        window.add(step)
        if self._trial is not None:
            self._judge(self._trial, window, step)
            return
        now_secs = step.now_secs
        if self.count > 1 and window.is_hindered and self._fewer.is_over(now_secs):
            self._try(max(1, min(self.count - 1, int(window.given_cores))), window, step)
        elif self.count < self.limit and window.is_full and self._more.is_over(now_secs):
            idle = 1.0 if step.idle_cores is None else step.idle_cores
            if idle >= IDLE_CORES or now_secs - self._more.since_secs >= LATEST_SECS:
                self._try(min(self.limit, self.count + max(1, round(idle))), window, step)

    def begin(self, idle_cores: float) -> None:
        """Begin anew after a pause in which so many cores stood idle: a thread without one would be waited for."""
        free = max(1, round(idle_cores))
        if free < self.count:
            self._trial = None
            self._change(free)

    def _try(self, count: int, window: Window, step: Step) -> None:
        self._trial = Trial(self.count, step.kind, step.rows, window.secs_per_row, step.now_secs)
        self._change(count)

    def _judge(self, trial: Trial, window: Window, step: Step) -> None:
        """Keep what is tried or go back, as soon as that can be said."""
        is_less = self.count < trial.former
        if step.kind != trial.kind or not are_alike(step.rows, trial.rows):
            # What it was held against is over: fewer threads were tried for a reason, more only in hope.
            if step.kind == trial.kind or step.now_secs - trial.began_at_secs > PATIENCE_SECS:
                self._end(trial, step, keeps=is_less)
            return
        ratio = window.secs_per_row / trial.secs_per_row
        if len(window.steps) < TRIAL and ratio <= HOPELESS:
            return
        keeps = len(window.steps) == TRIAL and ratio <= (AS_GOOD if is_less else BETTER)
        self._end(trial, step, keeps=keeps)

    def _end(self, trial: Trial, step: Step, *, keeps: bool) -> None:
        now_secs, is_less = step.now_secs, self.count < trial.former
        self._trial = None
        if not keeps:
            (self._fewer if is_less else self._more).grow(now_secs, LATEST_SECS)
            self._change(trial.former)
        elif is_less:
            self._fewer.reset(now_secs)
            if now_secs - self._raised_at_secs < RESTLESS_SECS:
                self._more.grow(now_secs, RESTLESS_SECS)
            else:
                self._more.reset(now_secs)
        else:
            self._raised_at_secs = now_secs

    def _change(self, count: int) -> None:
        self.count = count
        self._windows.clear()


def are_alike(rows: int, others: int) -> bool:
    """Whether the times of so many rows can be compared."""
    return max(rows, others) <= ALIKE * min(rows, others)
