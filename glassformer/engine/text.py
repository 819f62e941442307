"""Text from tokens as they come: never half a character, nothing of a stop string.

Pure state machines; they know a `decode` function and nothing else about models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

# What decoders put for bytes that are no character yet.
UNFINISHED = "\ufffd"
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
        self.window = list(prompt_ids[-MOST_HELD_TOKENS:])
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
        if len(text) <= len(before) and held < MOST_SILENT_TOKENS:
            return ""
        del self.window[: self.read]
        self.read = len(self.window)
        return text[len(before) :]


class StopStrings:
    """Passes text on until a stop string appears, holding back what could be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        self.found = False

    def add(self, text: str) -> str:
        """The part of the text so far that no stop string can take back."""
        self.held += text
        starts = [start for start in (self.held.find(stop) for stop in self.stops) if start >= 0]
        if starts:
            self.found = True
            return self._release(min(starts))
        return self._release(len(self.held) - longest_overlap(self.held, self.stops))

    def finish(self) -> str:
        """What was held back without a stop string having appeared."""
        return "" if self.found else self._release(len(self.held))

    def _release(self, count: int) -> str:
        text, self.held = self.held[:count], self.held[count:]
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
