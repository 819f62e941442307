"""Text that may come in a message: no lone surrogates, no NUL; and the strings that end a generation."""

from __future__ import annotations

from glassformer.errors import BadValue

MOST_STOPS = 16
LONGEST_STOP = 500


def check_text(text: str) -> str:
    """`text` unchanged. Raises ValueError for characters that no tokenizer or reader can take."""
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must not contain lone surrogates") from None
    return text


def require_text(text: str, field: str) -> None:
    """As `check_text`, for text inside a message that is already parsed. Raises BadValue."""
    if not text:
        raise BadValue(f"{field} must not be empty.", field=field)
    try:
        check_text(text)
    except ValueError as error:
        raise BadValue(f"{field} {error}.", field=field) from None


def check_stops(stops: list[str]) -> list[str]:
    """Stop strings unchanged. Raises ValueError for too many, empty and long ones."""
    if len(stops) > MOST_STOPS or any(not 1 <= len(stop) <= LONGEST_STOP for stop in stops):
        raise ValueError(f"takes at most {MOST_STOPS} strings of 1 to {LONGEST_STOP} characters")
    return [check_text(stop) for stop in stops]
