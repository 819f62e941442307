"""The messages of all heads at a glance: what every head reads over a text, as a few scores."""

from __future__ import annotations

from pydantic import Field

from glassformer.protocol.message import Message


class HeadScores(Message):
    """One head's scores. Shares of attention are from 0 to 1; null where the text has no position to tell by.

    `previous` is the mean attention to the position before, `first` to position 0, `induction` to the tokens that
    followed earlier occurrences of the current token, `duplicate` to those occurrences themselves. `entropy_bits` is
    the mean entropy of the head's rows, `entropy_share` that over the largest it could be: the logarithm of how many
    keys a row may read.
    """

    head: int
    previous: float | None
    first: float | None
    induction: float | None
    duplicate: float | None
    entropy_bits: float | None
    entropy_share: float | None


class ScoredPositions(Message):
    """Over how many positions each mean is taken, the same for all heads of a block."""

    previous: int
    first: int
    induction: int
    duplicate: int
    entropy: int


class BlockHeads(Message):
    """The heads of one block."""

    block: int
    over: ScoredPositions
    heads: list[HeadScores]


class RefusedHeads(Message):
    """A block whose heads cannot be shown, and why."""

    block: int
    reason: str


class Heads(Message):
    """All heads at a glance: `GET /api/traces/{id}/heads`.

    The means are over the rows of positions `start` to `stop` - 1: the whole text, or the last 512 of a long one.
    """

    start: int
    stop: int
    blocks: list[BlockHeads]
    refused: list[RefusedHeads] = Field(default_factory=list)
