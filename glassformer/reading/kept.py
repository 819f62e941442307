"""Messages about a decision, kept with their run for a while: a page that goes back and forth asks the same again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from glassformer.protocol.reading import Effects, Reading, Without
from glassformer.run.run import Run
from glassformer.tiles.plain_group import PlainGroup

M = TypeVar("M", Reading, Effects, Without, PlainGroup)

# A small message.
OBJECT_BYTES = 512
# A number in a list of Python's.
NUMBER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Kept(Generic[M]):
    """A message, kept."""

    message: M
    nbytes: int


def keep(run: Run, question: Hashable, make: Callable[[], M]) -> M:
    """The answer to `question` about a run, made if it is not at hand. It may be given again: look at it only.

    Of several threads that ask the same at once one makes it. Nothing is kept of what `make` raises: the next tries.
    """
    known = run.find_answer(question)
    if isinstance(known, Kept):
        return cast(M, known.message)
    with run.answering(question):
        while True:
            known = run.find_answer(question)
            if isinstance(known, Kept):
                return cast(M, known.message)
            rewritten = run.recording.rewritten
            found = make()
            # Rows may be replaced between two steps: half of each would be nobody's.
            if run.recording.rewritten == rewritten:
                run.keep_answer(question, Kept(found, count_bytes(found)), rewritten)
                return found


def count_bytes(message: Reading | Effects | Without | PlainGroup) -> int:
    """About what a message takes."""
    if isinstance(message, PlainGroup):
        return message.nbytes + OBJECT_BYTES * (1 + len(message.arrays))
    if isinstance(message, Effects):
        return 2 * OBJECT_BYTES * (1 + len(message.parts))
    words = sum(len(words.tokens) for words in message.lens)
    if isinstance(message, Without):
        return OBJECT_BYTES * (1 + len(message.tokens) + words)
    # What heads read is shared with the rows it was made of.
    numbers = sum(len(size.rms) for size in message.stream)
    return OBJECT_BYTES * (1 + len(message.parts) + words) + NUMBER_BYTES * numbers
