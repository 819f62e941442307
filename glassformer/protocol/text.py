"""Text that may come in a message: no lone surrogates, no NUL."""

from __future__ import annotations

from glassformer.errors import BadValue


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
