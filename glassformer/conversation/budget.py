"""What one rendering of a chat template may still do: rounds, characters and seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Loops' rounds, calls, filters, tests. The longest conversation that fits into a body needs a few hundred thousand.
MOST_STEPS = 1_000_000
# Characters written or put together on the way, some of them several times.
MOST_CHARACTERS = 64_000_000
LONGEST_SECS = 5.0
# What an item of a container is charged beside its text where it is written out: going through them takes time, too.
ITEM_CHARACTERS = 64
# A character takes up to four bytes; a place in a list takes eight, and a new text or tuple in it some sixty.
PLACE_CHARACTERS = 2
PIECE_CHARACTERS = 16


class Exhausted(Exception):
    """The template asks for more than a conversation can need."""


class Work:
    """What one rendering may still do."""

    def __init__(self) -> None:
        self.steps = MOST_STEPS
        self.characters = MOST_CHARACTERS
        self.deadline_secs = time.monotonic() + LONGEST_SECS

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise Exhausted("it loops without an end in sight")
        if time.monotonic() > self.deadline_secs:
            raise Exhausted(f"it took longer than {LONGEST_SECS:.0f} s")

    def write(self, count: int) -> None:
        self.characters -= count
        if self.characters < 0:
            raise Exhausted("it writes without an end in sight")

    def spell(self, value: object, *, item: int = ITEM_CHARACTERS, deeper: int = 0) -> None:
        """Charge for writing `value` out, which may hold the same thing many times over.

        An item of a container is charged `item`, and `deeper` more for each container around its own.
        """
        if isinstance(value, str):
            self.write(len(value))
        elif isinstance(value, Mapping):
            for key, one in value.items():
                self.write(item)
                self.spell(key)
                self.spell(one, item=item + deeper, deeper=deeper)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self.write(item)
                self.spell(one, item=item + deeper, deeper=deeper)

    def copy(self, value: object, times: int = 1) -> None:
        """Charge for `times` copies of a text, or of a list whose items stay the same."""
        if isinstance(value, str):
            self.write(len(value) * max(times, 0))
        elif isinstance(value, (list, tuple, dict)):
            self.write(PLACE_CHARACTERS * len(value) * max(times, 0))


_local = threading.local()


def work() -> Work:
    """The budget of what this thread compiles or renders; a fresh one outside of both."""
    found: Work | None = getattr(_local, "work", None)
    return Work() if found is None else found


@contextmanager
def new_work() -> Iterator[None]:
    """A fresh budget for what this thread does meanwhile."""
    _local.work = Work()
    try:
        yield
    finally:
        _local.work = None
