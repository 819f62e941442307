"""All heads at a glance over HTTP; what the scores are is tested in tests/reading."""

import json
from pathlib import Path

import httpx
import pytest
from serving import read_events, serving
from tiny import make_model

PROMPT = "the quick brown fox jumps over the quick brown fox"


def record(client: httpx.Client, model_id: str = "llama") -> str:
    """The id of a finished recording."""
    answer = client.post("/api/traces", json={"model_id": model_id, "prompt": PROMPT})
    assert answer.status_code == 201, answer.text
    trace_id: str = answer.json()["id"]
    events = read_events(client.get(f"/api/traces/{trace_id}/events").text)
    assert json.loads(events[-1][2])["status"] == "done"
    return trace_id


def test_all_heads_are_told_and_some_blocks_alone(client: httpx.Client) -> None:
    trace_id = record(client)
    whole = client.get(f"/api/traces/{trace_id}/heads").json()
    positions = client.get(f"/api/traces/{trace_id}").json()["positions"]
    assert (whole["start"], whole["stop"], whole["refused"]) == (0, positions, [])
    assert [(one["block"], len(one["heads"])) for one in whole["blocks"]] == [(0, 4), (1, 4)]
    assert whole["blocks"][0]["over"]["previous"] == positions - 1
    some = client.get(f"/api/traces/{trace_id}/heads", params={"blocks": "1"}).json()
    assert some == {**whole, "blocks": whole["blocks"][1:]}


@pytest.mark.parametrize("blocks", ["2", "1-0", "x", "-1", "0-99999", "1,2"])
def test_blocks_that_are_not_there_are_refused(client: httpx.Client, blocks: str) -> None:
    trace_id = record(client)
    answer = client.get(f"/api/traces/{trace_id}/heads", params={"blocks": blocks})
    assert (answer.status_code, answer.json()["field"]) == (422, "blocks")
    assert answer.json()["error"].startswith(
        ("blocks is one block as 7, or", "blocks must be within 0 to 1,")
    )
    assert client.get(f"/api/traces/{trace_id}/heads").status_code == 200


def test_an_unknown_recording_is_not_found(client: httpx.Client) -> None:
    answer = client.get("/api/traces/nowhere/heads")
    assert (answer.status_code, set(answer.json())) == (404, {"error", "field"})


def test_a_model_without_attention_says_so_of_each_block(tmp_path: Path) -> None:
    make_model(
        tmp_path / "mamba", "mamba", hidden_size=32, state_size=4, num_hidden_layers=2, time_step_rank=4
    )
    with serving(tmp_path, default_model="mamba") as server, server.client() as client:
        found = client.get(f"/api/traces/{record(client, 'mamba')}/heads").json()
    assert found["blocks"] == []
    assert [one["block"] for one in found["refused"]] == [0, 1]
    assert all(one["reason"] for one in found["refused"])
