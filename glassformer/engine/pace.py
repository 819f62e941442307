"""How fast a model reads, and so how many rows a step may have. Pure: knows neither clocks nor models."""

from __future__ import annotations

from collections import deque
from statistics import median_low

FEWEST_ROWS, MOST_ROWS = 16, 4096
# Rows from which the time of a step says something about the time of a row, whatever the step might have had.
TELLING_ROWS = 32
# Steps remembered. Of three one may have been stalled (by another process, by a page of memory) and is not believed.
REMEMBERED = 3


class Pace:
    """Seconds a row takes, from the last steps that told something about it."""

    def __init__(self) -> None:
        self._secs_per_row: deque[float] = deque(maxlen=REMEMBERED)

    def count_rows(self, secs: float) -> int:
        """How many rows a step of `secs` computes."""
        if not self._secs_per_row:
            return FEWEST_ROWS * 4
        # Of two the quicker: a step that is too long is noticed, one that is too short would be believed.
        pace = median_low(self._secs_per_row)
        return min(MOST_ROWS, max(FEWEST_ROWS, int(secs / pace) if pace > 0 else MOST_ROWS))

    def learn(self, rows: int, secs: float, *, allowed: int) -> None:
        """Take note of a step of `rows` rows, of which it might have had `allowed`.

        Few rows say little, for much of a step's time does not depend on them; but where no more were allowed, they
        are all there will ever be.
        """
        if rows >= min(TELLING_ROWS, allowed):
            self._secs_per_row.append(secs / rows)
