"""Effects of the real model against runs that were made beforehand under plain PyTorch hooks, one for each part."""

import json
from pathlib import Path
from typing import Any

import pytest

import glassformer

pytestmark = pytest.mark.real
KNOWN: dict[str, Any] = json.loads((Path(__file__).parent / "effects.json").read_text(encoding="utf-8"))
NEAR = 1e-3


@pytest.fixture(params=sorted(KNOWN))
def known(request: pytest.FixtureRequest) -> Any:
    return KNOWN[request.param]


@pytest.mark.parametrize("off", ["zero", "mean"])
def test_effects_are_those_of_runs_of_their_own(
    model: glassformer.Model, dtype: str, known: Any, off: Any
) -> None:
    trace = model.trace(token_ids=known["ids"])
    found = trace.effects(token=known["token"], versus=known["versus"], off=off)
    assert not found.refused
    # In bfloat16 the stream has eight bits: what is compared then is that the same parts decide.
    near = NEAR if dtype == "float32" else 0.35
    assert found.base.probability == pytest.approx(known["base"][0], abs=near)
    assert found.base.margin == pytest.approx(known["base"][1], abs=near)
    by_name = {
        ".".join(
            str(number) for number in (one.kind, one.block, one.head, one.position) if number is not None
        ): one
        for one in found.parts
    }
    assert len(by_name) == len(found.parts) == len(known["ids"]) - 1 + 30 * (1 + 9 + 1)
    for name, (probability, margin, word) in {**known["words"], **known[off]}.items():
        one = by_name[name]
        assert one.probability == pytest.approx(probability, abs=near), name
        if dtype == "float32":
            assert one.margin == pytest.approx(margin, abs=near), name
            assert one.token.text == word, name


def test_the_words_without_the_head_that_holds_spain_back(model: glassformer.Model, dtype: str) -> None:
    known = KNOWN["spain"]
    trace = model.trace(token_ids=known["ids"])
    found = trace.without("head.24.4", token=known["token"])
    assert found.tokens[0].text == " Spain"
    assert found.probability == pytest.approx(
        known["zero"]["head.24.4"][0], abs=NEAR if dtype == "float32" else 0.1
    )
    assert len(found.lens) == 31
    hidden = trace.without("token.17", "head.24.4", token=known["token"])
    assert hidden.probability < 0.05
