"""What all messages have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema

# Whatever holds items without a bound of its own.
CONTAINERS = ("list", "dict", "set", "tuple")


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """All tables inside a schema of pydantic's core."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)


class QuickToRefuse(BaseModel):
    """Base of what is read from strangers: the first fault of a list or table ends its reading.

    A million faults would each become an object and a sentence, of which one is told.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        for part in walk(schema):
            if part.get("type") in CONTAINERS:
                part["fail_fast"] = True
        return schema


class Message(QuickToRefuse):
    """Base of all messages: unknown fields are refused, so that a typing slip is heard."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
