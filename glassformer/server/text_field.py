"""Text and stop strings as fields of a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from glassformer.protocol.checked_text import check_stops, check_text


def list_stops(value: object) -> object:
    """One string or several, or none."""
    return [value] if isinstance(value, str) else [] if value is None else value


Text = Annotated[str, AfterValidator(check_text)]
Stops = Annotated[list[str], BeforeValidator(list_stops), AfterValidator(check_stops)]
