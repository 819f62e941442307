"""Text and stop strings as fields of a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from glassformer.protocol.checked_text import check_stops, check_text


def list_stops(value: object) -> object:
    """One string or several, or none: the empty string stops nothing."""
    if value is None or isinstance(value, str):
        value = [value]
    return [stop for stop in value if stop not in (None, "")] if isinstance(value, list) else value


Text = Annotated[str, AfterValidator(check_text)]
Stops = Annotated[list[str], BeforeValidator(list_stops), AfterValidator(check_stops)]
