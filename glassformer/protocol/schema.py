"""The messages as one OpenAPI document, from which the page's TypeScript types are generated.

`python -m glassformer.protocol.schema` prints it; it needs neither torch nor a running server.
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from glassformer.protocol import anatomy, explanation, heads, messages, reading, shape
from glassformer.protocol.message import Message


def describe_schema() -> dict[str, Any]:
    """Return an OpenAPI 3.1 document whose components are all messages, in a stable order."""
    models = sorted(
        (
            model
            for module in (anatomy, explanation, heads, messages, reading, shape)
            for _, model in inspect.getmembers(module, inspect.isclass)
            if issubclass(model, Message) and model.__module__ == module.__name__
        ),
        key=lambda model: model.__name__,
    )
    _, schema = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Glassformer native surface", "version": "1"},
        "paths": {},
        "components": {"schemas": dict(sorted(schema["$defs"].items()))},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe_schema(), indent=2) + "\n")
