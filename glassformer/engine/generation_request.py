"""What one generation asks for, and what it gives back token by token. Knows no model and no HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from glassformer.protocol.messages import Sampling

FinishReason = Literal["stop", "length", "context"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt and how to continue it.

    `stop` strings end the text before them, `stop_token_ids` end it beside the model's own end tokens.
    `max_new_tokens` 0 only reads the prompt. With `top_logprobs` every token carries that many of the likeliest
    tokens of the model's own distribution.
    """

    token_ids: list[int]
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """One generated token. `text` is what became certain with it; the last one carries the `finish_reason`.

    `probability` is that of the distribution it was drawn from, `logprob` the natural logarithm of its probability
    under the model's own; `top` lists (id, logprob) of the likeliest tokens of the latter, best first.
    """

    pos: int
    token_id: int
    text: str
    probability: float
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
