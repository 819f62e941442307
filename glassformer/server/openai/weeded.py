"""What every request of the surface is: a model, and the parameters that say something.

What is no parameter is weeded out by `field_name.py`, and `ignored` keeps the names that nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StringConstraints,
    model_validator,
)

from glassformer.protocol.message import QuickToRefuse
from glassformer.server.openai.field_name import weed
from glassformer.server.text_field import Text


class Weeded(QuickToRefuse):
    """Base of the surface's requests. `null` is as good as left out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: Annotated[Text, StringConstraints(min_length=1, max_length=512)]

    # Names of other calls for what this one has under another, or not at all.
    renamed: ClassVar[Mapping[str, str]] = {}

    _ignored: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def leave_out(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Leave out what says nothing, and refuse what is not done. Raises BadValue."""
        if not isinstance(data, dict):
            return handler(data)
        kept, ignored = weed(data, cls.model_fields, cls.renamed)
        body = handler(kept)
        body._ignored = ignored
        return body

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names in it that mean nothing here."""
        return self._ignored
