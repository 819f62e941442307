"""A logit of minus infinity is no number for JSON: it says null, or what its clients know, and never fails."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from serving import serving
from tiny import make_model

NEVER = 40


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a Phi, whose head has a bias: that of one token is minus infinity, as in models that mask tokens for good."""
    root = tmp_path_factory.mktemp("masked")
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 1}
    folder = make_model(root / "phi", "phi", num_attention_heads=4, num_key_value_heads=4, **shape)
    path = Path(folder) / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.bias"][NEVER] = -torch.inf
    save_file(weights, path, metadata={"format": "pt"})
    with serving(root, rate_limit="", default_model="sorter") as running, running.client() as found:
        yield found


def read(answer: httpx.Response) -> Any:
    """Its JSON, which has to be JSON as others read it: neither NaN nor Infinity."""
    assert answer.status_code < 300, answer.text

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {answer.text[:200]}")

    return json.loads(answer.text, parse_constant=refuse)


BASE: dict[str, Any] = {"model": "phi", "max_tokens": 3, "seed": 1}
ASKED: list[dict[str, Any]] = [
    {"logprobs": 20, "guided_choice": ["a"]},
    {"logprobs": 1, "top_k": 1, "echo": True},
    {"logprobs": 20, "logit_bias": {"5": -100, "6": 100}},
    {"logprobs": 2, "logit_bias": {str(NEVER): 100}},
]


@pytest.mark.parametrize("asked", ASKED)
def test_completions(client: httpx.Client, asked: dict[str, Any]) -> None:
    """Log probabilities are the model's own, before any filter."""
    body = {**BASE, "prompt": "the quick", **asked}
    told = read(client.post("/v1/completions", json=body))["choices"][0]["logprobs"]
    assert all(value is None or -10_000 < value <= 0 for value in told["token_logprobs"])
    streamed = client.post("/v1/completions", json={**body, "stream": True})
    events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert "Infinity" not in streamed.text
    assert sum(
        len((json.loads(event)["choices"][0]["logprobs"] or told | {"tokens": []})["tokens"])
        for event in events
    )


def test_recordings(client: httpx.Client) -> None:
    """The distribution, the lens, and the cell whose bias it is."""
    body = {"model_id": "phi", "prompt": "the quick", "max_new_tokens": 1}
    trace = read(client.post("/api/traces", json=body))
    with client.stream("GET", f"/api/traces/{trace['id']}/events") as events:
        events.read()
    where = f"/api/traces/{trace['id']}"
    listed = read(client.get(f"{where}/distribution", params={"pos": 1}))
    assert all(candidate["token"]["id"] != NEVER for candidate in listed["candidates"])
    read(client.get(f"{where}/lens", params={"pos": 1}))
    cell = read(client.get(f"{where}/explain", params={"address": "lm_head", "index": f"1,{NEVER}"}))
    assert cell["value"] is None
    assert [term["operands"][0]["value"] for term in cell["terms"] if term["label"] == "bias"] == [None]
