"""Effects over HTTP: the numbers of whole runs of transformers, and one clear sentence for what cannot be."""

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_traces_api import record
from tiny import read_model

sys.path.insert(0, str(Path(__file__).parent.parent / "reading"))
from plain_parts import LLAMA, PlainParts


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Any:
    return read_model(model_dir / "llama", attn_implementation="eager")


def list_ids(state: dict[str, Any]) -> list[int]:
    return [token["id"] for token in state["tokens"]]


def test_effects_in_pieces(client: httpx.Client, model: Any) -> None:
    state = record(client, max_new_tokens=6)
    ids = list_ids(state)
    pos = len(ids) - 3
    plain = PlainParts(model, LLAMA, ids, pos)
    path = f"/api/traces/{state['id']}/effects"
    words = client.get(path, params={"pos": pos, "blocks": "none"}).json()
    assert words["token"]["id"] == ids[pos + 1]  # what was written there
    assert words["blocks"] is None
    assert [part["position"] for part in words["parts"]] == list(range(pos))
    last = model.config.num_hidden_layers - 1
    answer = client.get(path, params={"pos": pos, "blocks": f"{last}-{last}", "versus": 9})
    assert answer.headers["content-type"] == "application/json"
    parts = answer.json()["parts"]
    assert {part["block"] for part in parts} == {last}
    for part in parts:
        name = ".".join(str(part[key]) for key in ("kind", "block", "head") if key in part)
        logprobs = plain.logits(name).log_softmax(-1)
        assert part["probability"] == pytest.approx(float(logprobs[ids[pos + 1]].exp()), abs=1e-4)
        assert part["margin"] == pytest.approx(float(logprobs[ids[pos + 1]] - logprobs[9]), abs=1e-3)


def test_without_parts(client: httpx.Client, model: Any) -> None:
    state = record(client)
    ids = list_ids(state)
    names = ["head.1.2", "token.1"]
    found = client.get(f"/api/traces/{state['id']}/without", params={"part": names, "token": 11}).json()
    probabilities = PlainParts(model, LLAMA, ids, len(ids) - 1).logits(*names).softmax(-1)
    assert found["parts"] == names
    assert found["probability"] == pytest.approx(float(probabilities[11]), abs=1e-4)
    assert [word["id"] for word in found["tokens"]] == probabilities.topk(20).indices.tolist()
    assert len(found["lens"]) == model.config.num_hidden_layers + 1


@pytest.mark.parametrize(
    ("call", "params", "field"),
    [
        ("effects", {"pos": 99}, "pos"),
        ("effects", {"token": 10**6}, "token"),
        ("effects", {"versus": "nobody"}, "versus"),
        ("effects", {"versus": 10**6}, "versus"),
        ("effects", {"off": "half"}, "off"),
        ("effects", {"blocks": "1-99"}, "blocks"),
        ("effects", {"blocks": "all"}, "blocks"),
        ("without", {}, "part"),
        ("without", {"part": "nose.1"}, "part"),
        ("without", {"part": "token.\u0663"}, "part"),  # a digit, of another script
        ("without", {"part": "head.99.0"}, "part"),
        ("without", {"part": "token.99"}, "part"),
        ("without", {"part": [f"head.{n}.0" for n in range(33)]}, "part"),
        ("without", {"part": [f"token.{n}" for n in range(300)]}, "part"),
    ],
)
def test_what_cannot_be_is_told_by_field(
    client: httpx.Client, call: str, params: dict[str, Any], field: str
) -> None:
    state = record(client)
    answer = client.get(f"/api/traces/{state['id']}/{call}", params=params)
    assert answer.status_code in (400, 422)
    body = answer.json()
    assert body["field"].split(".")[-1] == field, body
    assert body["error"].count(". ") == 0
    if isinstance(params.get("part"), list):
        assert body["error"] == f"part takes 1 to 32 parts at a time, and not {len(params['part'])}."
    assert client.get(f"/api/traces/{state['id']}/effects").status_code == 200
