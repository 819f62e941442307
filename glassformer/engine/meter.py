"""What an engine tells of its generations, for whoever counts; this one counts nothing."""

from __future__ import annotations


class Meter:
    """Called from the engines' threads. Must neither block nor raise."""

    def begin(self, waited_secs: float) -> None:
        """A generation has a place."""

    def look_up(self, prompt_tokens: int, known_tokens: int) -> None:
        """So many of a prompt's tokens had been read before."""

    def write_first(self, secs: float) -> None:
        """The first token is there, so long after it was asked for."""

    def write_next(self, secs: float) -> None:
        """Another one is there, so long after the one before."""
