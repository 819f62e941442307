"""Which tokens an answer's text consists of, and what is told about each: its text, its bytes, its log probability.

Knows a model only by what its tokenizer decodes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glassformer.engine.generation_request import DecodedToken
from glassformer.engine.text_pieces import Detokenizer
from glassformer.loading.token_text import UNFINISHED, TokenText, TokenTexts

# JSON has no infinity; this is what the surface's clients know for "practically impossible".
LEAST_LOGPROB = -9999.0


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its log probability (None for a prompt's first) and the likeliest in its place, best first.

    `offset` is where its text begins, in characters from the beginning of the answer.
    """

    token_id: int
    offset: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Alignment:
    """Lets go of a generation's tokens as their text is shown, and never of those that a stop string swallowed.

    Follows the text a second time, without the stop strings, to know where in it each token begins. `shown` counts
    the characters of the answer so far, an echoed prompt's too. An end token is no part of the text; whether it is
    told all the same, as the last one, `tells_end` says.
    """

    detokenizer: Detokenizer
    end_ids: frozenset[int]
    shown: int = 0
    tells_end: bool = False
    written: int = field(init=False)
    held: deque[Scored] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.written = self.shown

    def add(self, token: DecodedToken) -> list[Scored]:
        """The tokens whose text is shown with `token`'s."""
        self.shown += len(token.text)
        is_end = token.token_id in self.end_ids
        if not is_end or self.tells_end:
            self.held.append(Scored(token.token_id, self.written, token.logprob, token.top))
        if not is_end:
            self.written += len(self.detokenizer.add(token.token_id))
        if token.finish_reason is not None and (is_end or token.finish_reason != "stop"):
            return list(self.held)
        released = []
        while self.held and self.held[0].offset < self.shown:
            released.append(self.held.popleft())
        return released


def chat_logprobs(scored: Sequence[Scored], texts: TokenTexts) -> list[dict[str, Any]]:
    """`choices[].logprobs.content` of a chat."""
    found = []
    for token in scored:
        top = [describe(texts[token_id], logprob) for token_id, logprob in token.top]
        found.append({**describe(texts[token.token_id], token.logprob or 0.0), "top_logprobs": top})
    return found


def describe(token: TokenText, logprob: float) -> dict[str, Any]:
    return {
        "token": token.text,
        "logprob": bound(logprob),
        "bytes": None if token.raw is None else list(token.raw),
    }


def completion_logprobs(scored: Sequence[Scored], texts: TokenTexts) -> dict[str, Any]:
    """`choices[].logprobs` of a completion. The drawn token is always among the alternatives told."""
    tops: list[dict[str, float] | None] = []
    for token in scored:
        if token.logprob is None:
            tops.append(None)
            continue
        top: dict[str, float] = {}
        for token_id, logprob in (*token.top, (token.token_id, token.logprob)):
            # Several ids may read alike; the likeliest of them counts.
            top.setdefault(spell(texts[token_id]), bound(logprob))
        tops.append(top)
    return {
        "tokens": [spell(texts[token.token_id]) for token in scored],
        "token_logprobs": [None if token.logprob is None else bound(token.logprob) for token in scored],
        "top_logprobs": tops,
        "text_offset": [token.offset for token in scored],
    }


def spell(token: TokenText) -> str:
    """A token's text, or its bytes in the surface's spelling where they are no characters."""
    if UNFINISHED not in token.text or token.raw is None:
        return token.text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.raw)


def bound(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else LEAST_LOGPROB
