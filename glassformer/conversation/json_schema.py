"""JSON schemas in other words that mean the same, or hold less: what a grammar is made of. Knows no grammar."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, unquote

# Keywords whose value is a schema, a list of schemas, or schemas by name. Definitions first: a fault is there, not
# where they are used.
BY_NAME = ("$defs", "definitions", "properties", "patternProperties")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "additionalItems")
# What a URI reference may hold besides letters and digits (RFC 3986, 3.5).
REFERENCE_CHARACTERS = "#/%:?@!$&'()*+,;=-._~"
# Formats that the standard knows (JSON Schema 2020-12, Validation, 7.3).
FORMATS = frozenset(
    "date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference "
    "uuid uri-template json-pointer relative-json-pointer regex".split()
)
# Each is compared with each other.
MOST_BRANCHES = 64
# Pairs of schemas that are looked at to tell branches apart; a schema may lead back into itself.
MOST_PAIRS = 1000

Pairs = dict[tuple[int, int], bool]
"""Of two schemas by their ids whether they exclude each other, as far as is known."""


def prepare_schema(schema: Any, root: Any = None) -> Any:
    """The same schema in words that llguidance takes.

    References are spelt as URIs, whatever the names they lead to; names held by a pattern or a list become patterns of
    properties, where no others are named; exactly one of several becomes any of them, where no two can be met at once.
    `root` is the schema that references lead into.
    """
    root = schema if root is None else root
    if isinstance(schema, list):
        return [prepare_schema(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in BY_NAME and isinstance(value, dict):
            found[key] = {name: prepare_schema(item, root) for name, item in value.items()}
        elif key in LISTS or key in SINGLE:
            found[key] = prepare_schema(value, root)
        elif key == "format" and value not in FORMATS:
            continue  # the standard gives it no meaning: a note, as a title is
        elif key == "$ref" and isinstance(value, str):
            found[key] = quote(value, safe=REFERENCE_CHARACTERS)
        else:
            found[key] = value
    if "anyOf" not in found and are_apart(schema.get("oneOf"), root):
        found["anyOf"] = found.pop("oneOf")
    return name_by_pattern(found)


def are_apart(branches: Any, root: Any) -> bool:
    """Whether no value fits two of the schemas, as far as their types, choices and marking properties tell."""
    if not isinstance(branches, list) or not 0 < len(branches) <= MOST_BRANCHES:
        return False
    resolved = [resolve(branch, root) for branch in branches]
    pairs: Pairs = {}
    return all(
        exclude_each_other(first, second, root, pairs)
        for at, first in enumerate(resolved)
        for second in resolved[:at]
    )


def resolve(schema: Any, root: Any) -> dict[str, Any]:
    """The schema that a reference inside the root leads to, with what stands beside it."""
    found = schema if isinstance(schema, dict) else {}
    for _ in range(8):
        reference = found.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        target: Any = root
        for key in unquote(reference[2:]).split("/"):
            target = (
                target.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
            )
        if not isinstance(target, dict):
            break
        found = {**target, **{key: value for key, value in found.items() if key != "$ref"}}
    return found


def exclude_each_other(first: dict[str, Any], second: dict[str, Any], root: Any, pairs: Pairs) -> bool:
    kinds = [list_kinds(one) for one in (first, second)]
    if kinds[0] and kinds[1] and not kinds[0] & kinds[1]:
        return True
    choices = [list_choices(one) for one in (first, second)]
    if choices[0] is not None and choices[1] is not None and not choices[0] & choices[1]:
        return True
    if kinds != [{"object"}, {"object"}]:
        return False
    properties = [list_properties(one) for one in (first, second)]
    required = [set(one.get("required") or []) for one in (first, second)]
    for name in required[0] & required[1] & set(properties[0]) & set(properties[1]):
        if compare(properties[0][name], properties[1][name], root, pairs):
            return True
    return any(
        one.get("additionalProperties") is False
        and "patternProperties" not in one
        and bool(needed - set(known))
        for one, known, needed in ((first, properties[0], required[1]), (second, properties[1], required[0]))
    )


def compare(first: Any, second: Any, root: Any, pairs: Pairs) -> bool:
    """Whether two schemas exclude each other; each two of them are looked at once."""
    pair = (id(first), id(second))
    if pair not in pairs and len(pairs) < MOST_PAIRS:
        pairs[pair] = False  # where they lead back to themselves, nothing new is found
        pairs[pair] = exclude_each_other(resolve(first, root), resolve(second, root), root, pairs)
    return pairs.get(pair, False)


def list_properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def list_kinds(schema: dict[str, Any]) -> set[str]:
    """The types a value of the schema may have, numbers as one; none where they are not told."""
    given = schema.get("type")
    kinds = {given} if isinstance(given, str) else set(given) if isinstance(given, list) else set()
    return {"number" if kind == "integer" else kind for kind in kinds if isinstance(kind, str)}


def list_choices(schema: dict[str, Any]) -> set[str] | None:
    """The values a schema lists, as JSON; None where it lists none."""
    given = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(given, list):
        return None
    return {json.dumps(value, sort_keys=True) for value in given}


def name_by_pattern(schema: dict[str, Any]) -> dict[str, Any]:
    """`propertyNames` said with `patternProperties`, where the two mean the same."""
    names = schema.get("propertyNames")
    if not isinstance(names, dict) or schema.get("properties") or schema.get("patternProperties"):
        return schema
    said = set(names) - {"type", "title", "description"}
    if said == {"pattern"} and isinstance(names["pattern"], str):
        pattern = names["pattern"]
    elif said in ({"enum"}, {"const"}):
        listed = names.get("enum", [names.get("const")])
        if not all(isinstance(name, str) for name in listed):
            return schema
        pattern = f"^({'|'.join(map(re.escape, listed))})$"
    else:
        return schema
    found = {
        key: value for key, value in schema.items() if key not in ("propertyNames", "additionalProperties")
    }
    return {
        **found,
        "patternProperties": {pattern: schema.get("additionalProperties", True)},
        "additionalProperties": False,
    }


def close_objects(schema: Any) -> Any:
    """The schema with no more properties than it names, where it leaves that open: a small model would invent them.

    Narrower, never wider. Inside `allOf`, whose parts say more of one object together, it is left as it is.
    """
    if isinstance(schema, list):
        return [close_objects(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    if "properties" in found and not {"additionalProperties", "patternProperties", "allOf", "$ref"} & set(
        found
    ):
        found["additionalProperties"] = False
    for name in ("properties", "$defs", "definitions"):
        if isinstance(found.get(name), dict):
            found[name] = {key: close_objects(item) for key, item in found[name].items()}
    for name in ("items", "prefixItems", "anyOf", "oneOf"):
        if name in found:
            found[name] = close_objects(found[name])
    return found
