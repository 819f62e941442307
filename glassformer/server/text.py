"""Text as a field of a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from glassformer.protocol.text import check_text

Text = Annotated[str, AfterValidator(check_text)]
