"""Text from tokens as they come: never half a character, nothing of a stop string.

Pure state machines; they know a `decode` function and nothing else about models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress

from glassformer.loading.token_text import UNFINISHED

# The tokens that can lie between the border of a character and a place inside it: each has at least one of its bytes.
MOST_PARTIAL_TOKENS = 3
# Longest text held back in the hope of a finished character: byte-fallback tokens are one byte each, a character
# has at most four bytes, and some scripts' decoders look a few tokens further.
MOST_HELD_TOKENS = 16
# Special tokens have no text, and the word before them stays the context of the word after; for so many, not more.
MOST_SILENT_TOKENS = 64


class Detokenizer:
    """Turns ids into text pieces; joined, they are the text that decoding everything at once adds to the prompt's.

    Decodes a short window each time, so a long text costs no more a token than a short one.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt_ids: Sequence[int] = ()) -> None:
        self.decode = decode
        # The window starts at a token that began with a finished character; the prompt's last tokens are its
        # context, because some decoders treat a space at the start of a text differently.
        self.window = drop_partial(decode, list(prompt_ids[-MOST_HELD_TOKENS:]))
        self.read = len(self.window)

    def add(self, token_id: int) -> str:
        """The text that is certain now; often "", when a character is not finished."""
        self.window.append(token_id)
        return self._advance(final=False)

    def finish(self) -> str:
        """What was held back: bytes that never became a character, as U+FFFD."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        before = self.decode(self.window[: self.read])
        text = self.decode(self.window)
        held = len(self.window) - self.read
        if text.endswith(UNFINISHED) and not final and held < MOST_HELD_TOKENS:
            return ""
        border = self.read
        if before.endswith(UNFINISHED) and not text.startswith(before):
            border, before = self._find_border(text, before)
        if len(text) <= len(before) and held < MOST_SILENT_TOKENS:
            return ""
        del self.window[:border]
        self.read = len(self.window)
        return text[len(before) :]

    def _find_border(self, text: str, before: str) -> tuple[int, str]:
        """Where what was read ends, and its text, if it ended inside a character that is whole in `text` by now.

        That character belongs to what is written: nobody has seen it yet.
        """
        for border in range(self.read - 1, max(-1, self.read - MOST_PARTIAL_TOKENS - 1), -1):
            whole = self.decode(self.window[:border])
            if text.startswith(whole):
                return border, whole
        return self.read, before


def drop_partial(decode: Callable[[list[int]], str], window: list[int]) -> list[int]:
    """`window` without the end of a character that it begins inside: some decoders then read none of the next ones."""
    for end in range(len(window), max(0, len(window) - MOST_PARTIAL_TOKENS - 1), -1):
        for start in range(min(MOST_PARTIAL_TOKENS, end - 1) + 1):
            text = decode(window[start:end])
            if not text.startswith(UNFINISHED) and not text.endswith(UNFINISHED):
                return window[start:]
    return window


class StopStrings:
    """Passes text on until a stop string appears, holding back what could be the beginning of one.

    Control tokens are seen here and never passed on: a stop string may be one, or hold one.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        # For each held character, whether it is shown.
        self.shown: list[bool] = []
        self.found = False

    def add(self, text: str, *, is_shown: bool = True) -> str:
        """The part of the text so far that no stop string can take back."""
        self.held += text
        self.shown += [is_shown] * len(text)
        starts = [start for start in (self.held.find(stop) for stop in self.stops) if start >= 0]
        if starts:
            self.found = True
            return self._release(min(starts))
        return self._release(len(self.held) - longest_overlap(self.held, self.stops))

    def finish(self) -> str:
        """What was held back without a stop string having appeared."""
        return "" if self.found else self._release(len(self.held))

    def _release(self, count: int) -> str:
        text = "".join(compress(self.held[:count], self.shown))
        self.held, self.shown = self.held[count:], self.shown[count:]
        return text


def longest_overlap(text: str, stops: Sequence[str]) -> int:
    """The length of the longest end of `text` that one of `stops` begins with."""
    longest = 0
    for stop in stops:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
