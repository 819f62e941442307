"""Constrained choice: what comes out fits, whatever the model wants, and what cannot be used is refused."""

import json
import random
import re
import time
from typing import Any

import jsonschema
import pytest
import torch

from glassformer.engine.constraint import LONGEST_SOURCE, make_matcher
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sampling import make_sampler
from glassformer.errors import BadValue
from glassformer.files.catalog import Catalog
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Constraint, Sampling

PATTERNS = [
    "[ABC]{6}",
    "(Mia|Tom) has [0-9]+([.][0-9]{2})?[.]",
    "[A-Z][a-z]{2}\\s[a-z]{2}",
    "(ab|c)*d",
    "x?",
    "[é漢🎉]{2}",
    "a/b\\\\c",
]
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "friends": {"type": "array", "items": {"enum": ["Mia", "Tom", None]}, "maxItems": 3},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": -1, "maximum": 1}]},
    {
        "type": "array",
        "items": {"$ref": "#/$defs/pair"},
        "minItems": 1,
        "maxItems": 2,
        "$defs": {"pair": {"const": [1, 2]}},
    },
]


def draw_text(loaded: LoadedModel, constraint: Constraint, seed: int) -> str:
    """A text drawn from random logits, which want anything; fails where it does not end."""
    chance = torch.Generator().manual_seed(seed)
    sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed, constraint=constraint)
    sampler = make_sampler(GenerationRequest([0], sampling), loaded)
    ids = [0]
    for _ in range(500):
        ids.append(sampler.draw(torch.randn(loaded.vocab, generator=chance) * 3, ids).token_id)
        if ids[-1] in loaded.eos_ids:
            return loaded.decode(ids[1:])
    raise AssertionError(f"no end after {loaded.decode(ids)!r}")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_matches_from_end_to_end(llama: LoadedModel, pattern: str) -> None:
    for seed in range(10):
        assert re.fullmatch(pattern, draw_text(llama, Constraint(regex=pattern), seed))


@pytest.mark.parametrize("schema", SCHEMAS, ids=["object", "number", "array"])
def test_json_fits_its_schema(llama: LoadedModel, schema: dict[str, Any]) -> None:
    for seed in range(10):
        text = draw_text(llama, Constraint(json_schema=schema), seed)
        jsonschema.validate(json.loads(text), schema)


def test_every_choice_can_be_drawn_and_nothing_else(llama: LoadedModel) -> None:
    choices = ["Mia", "Tom", "Tom has it", 'quote " and \\ and \n line', "naïve 漢 🎉", " "]
    drawn = {draw_text(llama, Constraint(choices=choices), seed) for seed in range(300)}
    assert drawn == set(choices)


def test_the_end_is_allowed_exactly_where_a_text_may_end(llama: LoadedModel) -> None:
    """And every allowed token leads on to a choice, compared letter by letter."""
    choices, chance = ["Mia", "Tom", "Tom has it", "Mia gives the ball"], random.Random(3)
    for _ in range(60):
        matcher, ids = make_matcher(Constraint(choices=choices), llama), list[int]()
        while not matcher.is_over:
            allowed = set(matcher.allowed(llama.vocab).nonzero()[:, 0].tolist())
            text = llama.decode(ids)
            assert (allowed & llama.eos_ids != set()) == (text in choices)
            for token_id in allowed - llama.eos_ids:
                assert any(choice.startswith(text + llama.token(token_id).text) for choice in choices)
            token_id = chance.choice(sorted(allowed))
            ids.append(token_id)
            matcher.consume([token_id])


def test_requests_do_not_share_their_place(llama: LoadedModel) -> None:
    constraint = Constraint(regex="abc|xyz")
    first, second = make_matcher(constraint, llama), make_matcher(constraint, llama)
    first.consume(llama.tokenize("x"))
    assert not torch.equal(first.allowed(llama.vocab), second.allowed(llama.vocab))
    second.consume(llama.tokenize("abc"))


def test_tales_answers_by_choice() -> None:
    source = Catalog().find("tales")
    assert source.folder is not None
    tales = load_model(source, source.folder, device="cpu")
    constraint = Constraint(choices=["Mia", "Tom", "the ball"])
    assert {draw_text(tales, constraint, seed) for seed in range(60)} == {"Mia", "Tom", "the ball"}


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        (Constraint(regex="(a"), "unclosed group"),
        (Constraint(regex=r"(a)\1"), "backreferences are not supported"),
        (Constraint(regex=r"a(?=b)"), "look-around"),
        (Constraint(regex=r"[^\s\S]"), "no text fits it"),
        (Constraint(json_schema={"const": "\ud800"}), "hex escape"),
        (Constraint(json_schema={"type": "objct"}), "Invalid type: objct"),
        (Constraint(json_schema={"not": {}}), "not is not supported at not"),
        (Constraint(json_schema={"$ref": "https://example.com/schema.json"}), "does not fetch"),
        (
            Constraint(json_schema={"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}}),
            "no text fits it",
        ),
        (Constraint(json_schema={"const": float("nan")}), "JSON compliant"),
        (Constraint(json_schema={"enum": ["x" * LONGEST_SOURCE]}), "at most"),
        (Constraint(choices=["x" * 900] * 300), "at most"),
    ],
)
def test_what_makes_no_sense_is_refused(llama: LoadedModel, constraint: Constraint, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as caught:
        make_matcher(constraint, llama)
    assert caught.value.field == "constraint"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def nest(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


HOSTILE = [
    Constraint(regex="(a{1,1000}){1,1000}"),
    Constraint(regex="((((a{1,100}){1,100}){1,100}){1,100}){1,100}"),
    Constraint(regex="(a|aa)+" * 300),
    Constraint(regex="(.*a.{100}){3}"),
    Constraint(regex="(x+x+)+y"),
    Constraint(regex="(" * 1999 + ")" * 1999),
    Constraint(json_schema=nest(50)),
    Constraint(json_schema=nest(500)),
    Constraint(json_schema=nest(5000)),
    Constraint(json_schema={"type": "string", "maxLength": 10**9}),
    Constraint(json_schema={"type": "array", "minItems": 10**6, "items": {"type": "null"}}),
    Constraint(json_schema={"properties": {f"a{i}": {"pattern": "[a-z]{1,50}"} for i in range(700)}}),
    Constraint(choices=[f"choice number {i}" for i in range(1000)]),
]


@pytest.mark.parametrize("constraint", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_constraint_takes_neither_long_nor_everything(
    llama: LoadedModel, constraint: Constraint
) -> None:
    """Refused or followed, in a time that others can wait for: two seconds on a machine with other work."""
    started = time.perf_counter()
    try:
        matcher = make_matcher(constraint, llama)
        chance = random.Random(1)
        for _ in range(20):
            allowed = matcher.allowed(llama.vocab).nonzero()[:, 0].tolist()
            token_id = chance.choice(allowed)
            matcher.consume([token_id])
            if matcher.is_over:
                break
    except BadValue:
        pass
    assert time.perf_counter() - started < 2


def test_forced_tokens_must_fit(llama: LoadedModel) -> None:
    def sampling(text: str) -> Sampling:
        return Sampling(constraint=Constraint(choices=["yes", "no"]), forced_token_ids=llama.tokenize(text))

    make_sampler(GenerationRequest([0], sampling("ye")), llama)
    with pytest.raises(BadValue, match="do not fit") as caught:
        make_sampler(GenerationRequest([0], sampling("yo")), llama)
    assert caught.value.field == "forced_token_ids"


def test_a_model_without_an_end_is_refused() -> None:
    source = Catalog().find("sorter")
    assert source.folder is not None
    sorter = load_model(source, source.folder, device="cpu")
    with pytest.raises(BadValue, match="no end token"):
        make_matcher(Constraint(choices=["A"]), sorter)
