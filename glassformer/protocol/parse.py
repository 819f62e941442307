"""Messages from Python values, wherever nothing else turns pydantic's errors into one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from glassformer.errors import BadValue
from glassformer.protocol.message import Message

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(kind: type[AnyMessage], fields: Mapping[str, Any]) -> AnyMessage:
    """A message of that kind. Raises BadValue for the first field that is wrong."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or kind.__name__
        sentence = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
        raise BadValue(f"{field}: {sentence}.", field=field) from None
