"""Readings of the real model against those that plain hooks made of it once (`readings.json`, in float32)."""

import json
from pathlib import Path
from typing import Any

import pytest

import glassformer

pytestmark = pytest.mark.real

KEPT: dict[str, Any] = json.loads((Path(__file__).parent / "readings.json").read_text(encoding="utf-8"))
# Of the format itself, and of 16 bits, which round the stream sixty times.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}


@pytest.mark.parametrize("name", KEPT)
def test_it_is_what_plain_hooks_found(model: glassformer.Model, dtype: str, name: str) -> None:
    kept, close = KEPT[name], TOLERANCE[dtype]
    trace = model.trace(token_ids=kept["token_ids"])
    reading = trace.reading(kept["position"], token=kept["token"], versus=kept["versus"])
    assert reading.logit == pytest.approx(kept["logit"], abs=2 * close)
    assert reading.probability == pytest.approx(kept["probability"], abs=close)
    assert [part.value for part in reading.parts] == pytest.approx(kept["parts"], abs=close)
    assert sum(part.value for part in reading.parts) + reading.remainder == pytest.approx(reading.logit)
    assert abs(reading.remainder) < close
    assert reading.refused == []
    for kind, block, head, part in zip(*list_places(), reading.parts, strict=True):
        assert (part.kind, part.block, part.head) == (kind, block, head)
    chosen = [share for _, share in kept["lens"]]
    assert [words.chosen for words in reading.lens] == pytest.approx(chosen, abs=close)
    if dtype == "float32":
        # Before, words of a few per cent lie too close together to be told apart by every processor.
        ours = [words.tokens[0].id for words in reading.lens]
        assert ours[-3:] == [best for best, _ in kept["lens"]][-3:]
    for boundary, rms in kept["stream"].items():
        assert reading.stream[int(boundary)].rms == pytest.approx(rms, rel=10 * close, abs=close)
    for head in kept["attention"]:
        ours = next(h for h in reading.attention if (h.block, h.head) == (head["block"], head["head"]))
        assert ours.positions == [*range(kept["position"] + 1)]
        assert ours.weights == pytest.approx(head["weights"], abs=close)
        assert ours.carried == pytest.approx(head["carried"], abs=close * max(1.0, *head["carried"]))


def list_places() -> tuple[list[str], list[int | None], list[int | None]]:
    """Kind, block and head of each part: the embedding, then nine heads and an MLP in each of thirty blocks."""
    places: list[tuple[str, int | None, int | None]] = [("embedding", None, None)]
    for block in range(30):
        places += [*(("head", block, head) for head in range(9)), ("mlp", block, None)]
    kinds, blocks, heads = zip(*places, strict=True)
    return list(kinds), list(blocks), list(heads)
