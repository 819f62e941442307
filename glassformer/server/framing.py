"""Server-sent events, and how plain text is cut into them for two kinds of reader.

A standard parser must end with the exact text. The other splits at blank lines, keeps chunks that start with
`data:`, trims the start of each payload and drops empty ones; it must end with the exact text but for newlines.
So a piece never starts with white space unless the text itself does, and a run of newlines (with the white space
after it) is an event of its own whose first line is `id:`, which the second reader skips. A carriage return
cannot stand in an event at all and becomes a newline.

Pure functions and one small state machine. Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

PING = ": ping\n\n"
# Text without any white space is passed on in pieces of at most this many characters.
LONGEST_PIECE = 48
# What either JavaScript's trimStart or Python's lstrip takes away.
SPACE = r"[\s\ufeff\x1c-\x1f\x85]"
# Scripts written without spaces: each character may end a piece, or nothing would come before the end.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f"
    "\uff00-\uffef\U0001f000-\U0001faff\U00020000-\U0003ffff]"
)
NEWLINES = re.compile(rf"\n{SPACE}*")
BLANK = re.compile(rf"{SPACE}+")


def event(data: str, *, name: str | None = None, event_id: str | int | None = None) -> str:
    """One event with any data; several lines become several `data:` lines."""
    lines = [] if name is None else [f"event: {name}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in data.split("\n")]
    return "\n".join(lines) + "\n\n"


def json_event(value: object, *, name: str, event_id: int | None = None) -> str:
    return event(json.dumps(value, allow_nan=False), name=name, event_id=event_id)


def newline_event(text: str) -> str:
    """An event for a run of newlines, which only the standard parser reads."""
    return "id:\n" + event(text)


class TextFramer:
    """Cuts text that comes in pieces into events; `add` gives those that are complete, `finish` the rest."""

    def __init__(self) -> None:
        # The last piece, which may grow, in the parts it came in.
        self._held: list[str] = []
        # A carriage return at the end waits: a newline after it would belong to it.
        self._carriage = ""

    def add(self, text: str) -> Iterator[str]:
        text = self._carriage + text
        ready = text.removesuffix("\r")
        self._carriage = text[len(ready) :]
        yield from map(frame, self._take(normalise(ready)))

    def finish(self) -> Iterator[str]:
        pieces = self._take(normalise(self._carriage))
        last = "".join(self._held)
        self._held, self._carriage = [], ""
        yield from map(frame, [*pieces, last] if last else pieces)

    def _take(self, text: str) -> list[str]:
        """The pieces that `text` completes."""
        if self._only_lengthens(text):
            self._held.append(text)
            return []
        pieces, last = cut("".join([*self._held, text]))
        self._held = [last] if last else []
        return pieces

    def _only_lengthens(self, text: str) -> bool:
        """Whether `text` is but white space of the last piece; a long run is not looked through for each token."""
        if not BLANK.fullmatch(text):
            return False
        return "\n" not in text or bool(self._held and self._held[0].startswith("\n"))


def normalise(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def frame(piece: str) -> str:
    return newline_event(piece) if piece.startswith("\n") else event(piece)


def cut(text: str) -> tuple[list[str], str]:
    """Complete pieces of `text`, and the last one, which later text may still lengthen."""
    pieces = list(split_pieces(text))
    return (pieces[:-1], pieces[-1]) if pieces else ([], "")


def split_pieces(text: str) -> Iterator[str]:
    """Words with the white space after them, and runs of newlines with the white space after them."""
    start = 0
    while start < len(text):
        newlines = NEWLINES.match(text, start)
        if newlines:
            yield newlines.group()
            start = newlines.end()
            continue
        end = find_piece_end(text, start)
        yield text[start:end]
        start = end


def find_piece_end(text: str, start: int) -> int:
    """Where the piece that begins at `start` (not a newline) ends: before the first character of the next one."""
    end, has_word, has_space = start, False, False
    while end < len(text) and text[end] != "\n":
        if is_space(text[end]):
            has_space = True
        elif has_word and (has_space or may_break(text, start, end)):
            break
        else:
            has_word, has_space = True, False
        end += 1
    return end


def may_break(text: str, start: int, end: int) -> bool:
    """Whether a piece without white space may end before the character at `end`."""
    return end - start >= LONGEST_PIECE or UNSPACED.match(text[end - 1]) is not None


def is_space(character: str) -> bool:
    return re.match(SPACE, character) is not None
