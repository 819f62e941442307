"""The text of one token as it stands in the middle of a text, and the tokens that a tokenizer adds around one.

The one place that decodes a token alone: what is shown anywhere of a token is from here. Knows tokenizers only.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What decoders put for bytes that are no character.
UNFINISHED = "\ufffd"
# A token is decoded after one of these, the first that is one token with a text.
ANCHORS = ("a", "0", ".")
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as text, U+FFFD where its bytes are no characters, and those bytes; a control token has none."""

    text: str
    raw: bytes | None


class TokenTexts:
    """The texts of tokens as they stand in the middle of a text; making it tokenizes a letter.

    Many decoders drop the space before a text's first word, so that a token decoded alone reads like another one. Each
    is decoded after a letter instead: joined, the texts are the whole, with at most one space more in front.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, special_ids: Collection[int]) -> None:
        self.tokenizer = tokenizer
        self.special_ids = special_ids
        self.known: dict[int, TokenText] = {}
        self.anchor, self.before = self.find_anchor()

    def __getitem__(self, token_id: int) -> TokenText:
        found = self.known.get(token_id)
        if found is None:
            found = self.known[token_id] = self.find(token_id)
        return found

    def find_anchor(self) -> tuple[list[int], str]:
        for text in ANCHORS:
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][-1:]
            before = self.decode(ids)
            if before and UNFINISHED not in before and not set(ids) & set(self.special_ids):
                return ids, before
        return [], ""

    def find(self, token_id: int) -> TokenText:
        if token_id in self.special_ids:
            return TokenText(self.decode([token_id]), None)
        text = self.decode([*self.anchor, token_id])
        text = text[len(self.before) :] if text.startswith(self.before) else self.decode([token_id])
        raw = self.read_bytes(token_id) if UNFINISHED in text else None
        return TokenText(text, text.encode() if raw is None else raw)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def read_bytes(self, token_id: int) -> bytes | None:
        """The bytes that the vocabulary spells for a token of unfinished characters, by either habit."""
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
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


@dataclass(frozen=True, slots=True)
class Affixes:
    """The special tokens that a tokenizer puts before and after any text."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def list_left_off(self, ids: list[int]) -> list[int]:
        """The places in `ids`, a whole text's, that are not run when the text is to go on.

        What ends it, for the model would go on after an end; and the beginning where the text spells it itself, as
        one that was rendered from a chat template does.
        """
        begin, end = len(self.before), len(ids) - len(self.after)
        places: list[int] = []
        if begin and tuple(ids[begin : 2 * begin]) == self.before == tuple(ids[:begin]):
            places += range(begin)
        if end >= begin and tuple(ids[end:]) == self.after:
            places += range(end, len(ids))
        return places


def find_affixes(tokenizer: PreTrainedTokenizerBase) -> Affixes:
    """What `tokenizer` adds, found by what it does to a letter."""
    for text in ANCHORS:
        plain = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        whole = tokenizer(text, verbose=False)["input_ids"]
        for start in range(len(whole) - len(plain) + 1):
            if plain and whole[start : start + len(plain)] == plain:
                return Affixes(tuple(whole[:start]), tuple(whole[start + len(plain) :]))
    return Affixes()
