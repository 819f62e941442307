"""Where in a JSON schema a fault is that llguidance tells of the whole.

Nothing of a schema is ever dropped: what cannot be held is refused, naming the keyword and the path to it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher

from glassformer.conversation.json_schema import BY_NAME, LISTS, SINGLE, prepare_schema

# Searching a fault compiles parts of the schema, each with all definitions: some milliseconds, or a second where they
# are large. Then the part is named that was found by then.
MOST_TRIED = 400
MOST_SECS = 1.0
UNKNOWN_KEYS = re.compile(r'Unimplemented keys: \["([^"]+)"')


@dataclass(frozen=True)
class SchemaFault:
    """What cannot be held of a schema: the keys that lead there, and why."""

    path: tuple[str, ...]
    reason: str


def find_schema_fault(schema: dict[str, Any]) -> SchemaFault | None:
    """The innermost part of a schema that cannot be held, or one around it where many are large; None if all can be."""
    root = prepare_schema(schema)
    message = validate(root)
    if message is None:
        return None
    path: tuple[str, ...] = ()
    part, tried = root, 0
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    ends_at = time.monotonic() + MOST_SECS
    is_found = True
    while is_found:
        is_found = False
        for keys, child in list_parts(part):
            tried += 1
            if tried > MOST_TRIED or time.monotonic() > ends_at:
                break
            inner = validate({**definitions, **child} if isinstance(child, dict) else child)
            if inner is not None:
                path, part, message, is_found = (*path, *keys), child, inner, True
                break
    unknown = UNKNOWN_KEYS.search(message)
    if unknown and isinstance(part, dict) and unknown[1] in part:
        return SchemaFault((*path, unknown[1]), f"{unknown[1]} is not supported")
    return SchemaFault(path, shorten(message))


def validate(schema: Any) -> str | None:
    """What llguidance says against a schema, if anything."""
    try:
        text = json.dumps(schema, allow_nan=False)
        text.encode()
        return LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(text)) or None
    except (ValueError, RecursionError) as exc:
        return str(exc) or "it makes no sense"


def list_parts(schema: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas directly inside one, each with the keys that lead there."""
    if not isinstance(schema, dict):
        return
    for key in BY_NAME:
        if isinstance(schema.get(key), dict):
            for name, part in schema[key].items():
                yield (key, name), part
    for key in (*LISTS, *SINGLE):
        value = schema.get(key)
        if isinstance(value, list):
            for place, part in enumerate(value):
                yield (key, str(place)), part
        elif isinstance(value, dict):
            yield (key,), value


def shorten(message: str) -> str:
    """The reason in a library's message, which may be a picture of the place in many lines, without addresses."""
    lines = [line for line in message.splitlines() if line.strip() and line.strip() != "<non-verbose/>"]
    reason = next((line.strip()[7:] for line in lines if line.strip().startswith("error: ")), None)
    text = (reason or (lines[0] if lines else "it makes no sense")).strip().rstrip(".")
    return re.sub(r"\w+://\S*", "...", text)[:200]
