"""The messages of a reading: what mattered for one decision, as sums, as tests, and with parts switched off.

A **boundary** counts from 0, after the embedding, to the number of blocks, after the last one. A **part** is what
writes to the residual stream; its name on the wire (`PartName`) is its kind, its block and its number: `head.24.4`,
`mlp.3`, `expert.5.17`, `attention.24`, `mixer.2`, and of the words of the text `token.17`, by position.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glassformer.protocol.message import Message

PART_NAME = r"^(token\.[0-9]{1,9}|(attention|mlp|mixer)\.[0-9]{1,5}|(head|expert)\.[0-9]{1,5}\.[0-9]{1,5})$"
# How many are switched off together at most.
MOST_PARTS = 32
PartName = Annotated[str, Field(pattern=PART_NAME, max_length=24)]
Versus = Literal["none", "mean"] | Annotated[int, Field(ge=0)]
Off = Literal["zero", "mean"]


class Word(Message):
    """A token of the vocabulary: its id, and its text in the middle of a text."""

    id: int
    text: str


class LikelyWord(Word):
    """A word that the model might write, with its probability."""

    probability: float


class BoundaryWords(Message):
    """The words the model would write if it stopped at a boundary, likeliest first (the logit lens).

    `chosen` is the probability of the reading's own token there, which need not be among them.
    """

    boundary: int
    tokens: list[LikelyWord]
    chosen: float


class PartValue(Message):
    """What one part adds to the logit of the reading's token, through the final norm as it was."""

    kind: Literal["embedding", "head", "mlp", "expert", "mixer", "bias"]
    block: int | None = None
    head: int | None = None
    expert: int | None = None
    value: float


class HeadReads(Message):
    """Which positions a head reads from the reading's position.

    `weights` are its attention probabilities, `carried` those times the norm of what the position brings to the stream.
    The positions are those that carry most, in order of the text; at most 32 of a long one.
    """

    block: int
    head: int
    positions: list[int]
    weights: list[float]
    carried: list[float]


class StreamSize(Message):
    """The root mean square of the residual stream at a boundary, at every position up to the reading's."""

    boundary: int
    rms: list[float]


class RefusedPiece(Message):
    """A piece of a reading that this model does not allow, and why."""

    piece: Literal["lens", "parts", "attention", "stream", "effects"]
    kind: str | None = None
    block: int | None = None
    reason: str


class Reading(Message):
    """What mattered for one decision: `GET /api/traces/{id}/reading`.

    `parts` and `remainder` sum to `logit`. With `versus` they are the difference from the average logit (`mean`) or
    from another token's (its id), and so is `logit`.
    """

    position: int
    token: Word
    versus: Versus
    logit: float
    probability: float
    lens: list[BoundaryWords]
    parts: list[PartValue]
    remainder: float
    attention: list[HeadReads]
    stream: list[StreamSize]
    refused: list[RefusedPiece] = Field(default_factory=list)


class EffectBase(Message):
    """The decision as it was: the token's probability, the margin, and the likeliest word."""

    probability: float
    margin: float
    token: Word


class Effect(Message):
    """The decision with one part switched off, or one word of the text hidden, at the reading's position.

    `probability` and `token` are the reading's token's probability and the likeliest word then; `margin` is the
    log-probability, less that of `versus` where that is a word.
    """

    kind: Literal["token", "attention", "head", "mlp", "expert", "mixer"]
    position: int | None = None
    block: int | None = None
    head: int | None = None
    expert: int | None = None
    probability: float
    margin: float
    token: Word


class Effects(Message):
    """What each part is worth to one decision, by test: `GET /api/traces/{id}/effects`.

    `blocks` are those whose parts are in it, first and last; null where it holds the words of the text alone.
    """

    position: int
    token: Word
    versus: Versus
    off: Off
    blocks: tuple[int, int] | None
    base: EffectBase
    parts: list[Effect]
    refused: list[RefusedPiece] = Field(default_factory=list)


class Without(Message):
    """The decision with some parts switched off together: `GET /api/traces/{id}/without`.

    `lens` has the words at each boundary then, `tokens` the likeliest words at the end.
    """

    position: int
    token: Word
    parts: list[PartName]
    off: Off
    probability: float
    lens: list[BoundaryWords]
    tokens: list[LikelyWord]
