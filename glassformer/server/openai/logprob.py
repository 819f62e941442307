"""Which tokens an answer's text consists of, and what is told about each: its text, its bytes, its log probability.

Knows a model only by what its tokenizer decodes.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from glassformer.engine.request import DecodedToken
from glassformer.engine.text import UNFINISHED, Detokenizer

if TYPE_CHECKING:
    from glassformer.model.load import LoadedModel

# JSON has no infinity; this is what the surface's clients know for "practically impossible".
LEAST_LOGPROB = -9999.0
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its log probability (None for a prompt's first) and the likeliest in its place, best first.

    `offset` is where its text begins, in characters from the beginning of the answer.
    """

    token_id: int
    offset: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as text, U+FFFD where its bytes are no characters, and those bytes; a control token has none."""

    text: str
    raw: bytes | None


class TokenTexts:
    """The texts of tokens as they stand in the middle of a text. Making it tokenizes a letter."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.known: dict[int, TokenText] = {}
        # Some decoders drop the space before a text's first word, so tokens are decoded after another one.
        ids = loaded.tokenize("a")[-1:]
        before = loaded.decode(ids)
        is_plain = bool(before) and UNFINISHED not in before
        self.anchor = ids if is_plain else []
        self.before = before if is_plain else ""

    def __getitem__(self, token_id: int) -> TokenText:
        found = self.known.get(token_id)
        if found is None:
            found = self.known[token_id] = self.find(token_id)
        return found

    def find(self, token_id: int) -> TokenText:
        text = self.loaded.decode([*self.anchor, token_id], keep_special=True)
        if text.startswith(self.before):
            text = text[len(self.before) :]
        else:
            text = self.loaded.decode([token_id], keep_special=True)
        if token_id in self.loaded.special_ids:
            return TokenText(text, None)
        raw = self.read_bytes(token_id) if UNFINISHED in text else None
        return TokenText(text, text.encode() if raw is None else raw)

    def read_bytes(self, token_id: int) -> bytes | None:
        """The bytes that the vocabulary spells for a token of unfinished characters, by either habit."""
        piece = self.loaded.tokenizer.convert_ids_to_tokens(token_id)
        if not isinstance(piece, str):
            return None
        fallback = BYTE_PIECE.fullmatch(piece)
        if fallback:
            return bytes([int(fallback[1], 16)])
        alphabet = byte_alphabet()
        if all(character in alphabet for character in piece):
            return bytes(alphabet[character] for character in piece)
        return None


@cache
def byte_alphabet() -> dict[str, int]:
    """The character that byte-level vocabularies write for each byte, as GPT-2's.

    Printable Latin-1 characters stand for themselves, the other bytes for U+0100 onwards in their order.
    """
    alphabet: dict[str, int] = {}
    strange = 0
    for byte in range(256):
        stands_for_itself = 0x21 <= byte <= 0x7E or (0xA1 <= byte <= 0xFF and byte != 0xAD)
        alphabet[chr(byte if stands_for_itself else 0x100 + strange)] = byte
        strange += not stands_for_itself
    return alphabet


@dataclass
class Alignment:
    """Lets go of a generation's tokens as their text is shown, and never of those that a stop string swallowed.

    Follows the text a second time, without the stop strings, to know where in it each token begins. `shown` counts
    the characters of the answer so far, an echoed prompt's too.
    """

    detokenizer: Detokenizer
    end_ids: frozenset[int]
    shown: int = 0
    written: int = field(init=False)
    held: deque[Scored] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.written = self.shown

    def add(self, token: DecodedToken) -> list[Scored]:
        """The tokens whose text is shown with `token`'s; an end token has none."""
        self.shown += len(token.text)
        is_end = token.token_id in self.end_ids
        if not is_end:
            self.held.append(Scored(token.token_id, self.written, token.logprob, token.top))
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
