"""JSON schemas as programs write them: what is held is right, and what is not is named with its path."""

import json
import threading
import time
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field
from test_constraint import draw_text

from glassformer.conversation.json_schema import prepare_schema
from glassformer.engine import schema_fault
from glassformer.engine.constraint import make_matcher
from glassformer.engine.schema_fault import SchemaFault, find_schema_fault
from glassformer.errors import BadValue
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Constraint


class Colour(Enum):
    RED = 'a "red" one'
    BLUE = "bleu, naïf"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cat(Closed):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(Closed):
    kind: Literal["dog"]
    tricks: Annotated[list[Literal["sit", "roll"]], Field(max_length=2)]


class Tree(Closed):
    value: Literal[1, 2]
    left: "Tree | None" = None


class Zoo(Closed):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    colour: Colour | None
    counts: dict[Literal["a/b", "c d"], Annotated[int, Field(ge=0, le=3)]]
    pair: tuple[bool, Literal["x"]]
    code: Annotated[str, Field(pattern="^[ab]+$", max_length=3)]


INTEGER = {"type": "integer", "minimum": 0, "maximum": 9}
HELD: dict[str, dict[str, Any]] = {
    "pydantic": Zoo.model_json_schema(),
    "a tree": Tree.model_json_schema(),
    "names with spaces and slashes": {
        "$defs": {"A b/c": INTEGER, "d%e": {"const": "é"}},
        "type": "array",
        "prefixItems": [{"$ref": "#/$defs/A b~1c"}, {"$ref": "#/$defs/d%25e"}],
        "items": False,
        "minItems": 2,
    },
    "names by a pattern": {
        "type": "object",
        "propertyNames": {"pattern": "^k[0-9]$"},
        "additionalProperties": INTEGER,
    },
    "names by a list": {
        "type": "object",
        "propertyNames": {"enum": ["a.b", "c"]},
        "additionalProperties": INTEGER,
    },
    "one of two types": {"oneOf": [{"type": "boolean"}, INTEGER, {"enum": ["x"]}]},
    "one of two kinds": {
        "$defs": {"cat": {"const": "cat"}},
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"$ref": "#/$defs/cat"}},
                "required": ["kind"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"kind": {"enum": ["dog", "cow"]}, "n": INTEGER},
                "required": ["kind"],
                "additionalProperties": False,
            },
        ],
    },
    "strict": {"type": "object", "properties": {}, "additionalProperties": False},
    "a note for a format": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 9, "x-order": 1},
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_is_right(llama: LoadedModel, name: str) -> None:
    """Every text that a random model ends is valid."""
    for seed in range(6):
        text = draw_text(llama, Constraint(json_schema=HELD[name]), seed)
        jsonschema.Draft202012Validator(HELD[name]).validate(json.loads(text))


def test_exactly_one_is_any_only_where_no_two_can_be_met() -> None:
    apart = {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "array"}]}
    assert "anyOf" in prepare_schema(apart)
    closed = {"type": "object", "properties": {"b": {}}, "additionalProperties": False}
    assert "anyOf" in prepare_schema({"oneOf": [{"type": "object", "required": ["a"]}, closed]})
    for together in (
        [{"type": "object"}, {"type": "object", "required": ["a"]}],
        [{"type": "integer"}, {"type": "number"}],
        [{"enum": [1, 2]}, {"enum": [2, 3]}],
        [{"type": "string"}, {"minLength": 1}],
        [{"$ref": "#/$defs/nope"}, {"type": "string"}],
    ):
        assert "oneOf" in prepare_schema({"oneOf": together})


def test_schemas_that_lead_back_into_themselves_or_branch_without_end_are_told_apart_soon() -> None:
    def follow(*names: str) -> dict[str, Any]:
        properties = {f"p{at}": {"$ref": f"#/$defs/{name}"} for at, name in enumerate(names)}
        return {"type": "object", "required": list(properties), "properties": properties}

    branches = {"oneOf": [{"$ref": "#/$defs/A0"}, {"$ref": "#/$defs/B0"}]}
    assert "oneOf" in prepare_schema({**branches, "$defs": {"A0": follow("A0"), "B0": follow("B0")}})
    deep: dict[str, Any] = {}
    for at in range(60):
        deep |= {f"{letter}{at}": follow(*[f"{letter}{at + 1}"] * 2) for letter in "AB"}
    assert "oneOf" in prepare_schema({**branches, "$defs": {**deep, "A60": {}, "B60": {}}})
    ends = {"A60": {"type": "string"}, "B60": {"type": "integer"}}
    assert "anyOf" in prepare_schema({**branches, "$defs": {**deep, **ends}})


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems", "not supported"),
        ({"properties": {"a": {"items": {"not": {"const": 1}}}}}, "properties.a.items.not", "not supported"),
        (
            {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"anyOf": [True, {"contains": {}}]}}},
            "$defs.x.anyOf.1.contains",
            "not supported",
        ),
        (
            {"type": "object", "properties": {"b": {}}, "propertyNames": {"maxLength": 3}},
            "propertyNames",
            "not supported",
        ),
        ({"properties": {"a": {"if": {"const": 1}, "then": {}}}}, "properties.a.if", "not supported"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "integer", "minimum": 5, "maximum": 3}},
                "required": ["a"],
            },
            "properties.a",
            "minimum (5) is greater than maximum (3)",
        ),
        (
            {"properties": {"a": {"type": "string", "format": "json-pointer"}}},
            "properties.a",
            "Unknown format",
        ),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "properties.a", "look-around"),
        ({"oneOf": [{"type": "object"}, {"minProperties": 1}]}, "", "oneOf"),
        ({"items": {"$ref": "https://example.com/x"}}, "items", "does not fetch"),
    ],
)
def test_what_is_not_held_is_named_with_its_path(
    llama: LoadedModel, schema: dict[str, Any], path: str, reason: str
) -> None:
    found = find_schema_fault(schema)
    assert isinstance(found, SchemaFault)
    assert ".".join(found.path) == path
    assert reason in found.reason
    with pytest.raises(BadValue) as refused:
        make_matcher(Constraint(json_schema=schema), llama)
    assert found.reason in refused.value.message
    assert path in refused.value.message
    assert "://" not in refused.value.message


def test_a_large_schema(llama: LoadedModel) -> None:
    """As large as those of agents with many tools; its fault is found as well."""
    entry = {
        "type": "object",
        "properties": {f"field_{at}": {"enum": [f"value {one}" for one in range(9)]} for at in range(9)},
    }
    schema: dict[str, Any] = {"type": "object", "properties": {f"part_{at}": entry for at in range(42)}}
    assert len(json.dumps(schema)) > 46_000
    assert make_matcher(Constraint(json_schema=schema), llama).allowed(llama.vocab).any()
    assert find_schema_fault(schema) is None
    schema["properties"]["part_41"] = {**entry, "properties": {"odd": {"type": "array", "uniqueItems": True}}}
    found = find_schema_fault(schema)
    assert found is not None
    assert found.path == ("properties", "part_41", "properties", "odd", "uniqueItems")


def test_a_search_that_takes_too_long_names_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is compiled with all definitions, which for large ones takes a second."""
    compiled: list[object] = []

    def watch(schema: object) -> str | None:
        compiled.append(schema)
        clock[0] += 0.4
        return validate(schema)

    clock = [0.0]
    validate = schema_fault.validate
    monkeypatch.setattr(schema_fault, "validate", watch)
    monkeypatch.setattr(schema_fault.time, "monotonic", lambda: clock[0])
    odd = {"type": "array", "uniqueItems": True}
    inner = {f"part_{at}": {"type": "string"} for at in range(300)} | {"odd": odd}
    found = find_schema_fault({"properties": {"outer": {"type": "object", "properties": inner}}})
    assert found is not None
    assert found.path == ("properties", "outer")
    assert "uniqueItems" in found.reason
    assert len(compiled) < 6


def test_a_schema_of_thousands_of_properties_keeps_other_threads_going(llama: LoadedModel) -> None:
    """An automaton of 500 that may come in any number has 2^500 states; this one is never written out."""
    names = {f"name_{number}": {"type": "string"} for number in range(2000)}
    schema = {"type": "object", "properties": names, "additionalProperties": False}
    make_matcher(Constraint(regex="a"), llama)  # the vocabulary's own, once
    waits: list[float] = []
    ended = threading.Event()

    def wait_often() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            time.sleep(0)
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=wait_often)
    thread.start()
    began = time.perf_counter()
    matcher = make_matcher(Constraint(json_schema=schema), llama)
    took_secs = time.perf_counter() - began
    ended.set()
    thread.join()
    assert max(waits) < took_secs / 2
    assert matcher.allowed(llama.vocab).any()
