"""Rows of a recording, and recordings that begin with another's: what a page needs to keep what it knows."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import read_events, serving

from glassformer.protocol.frames import decode_frame
from glassformer.server.router import traces

PROMPT = "the quick brown fox jumps over the lazy dog"


def record(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """A finished recording's state."""
    answer = client.post("/api/traces", json={"model_id": "llama", "prompt": PROMPT, **body})
    assert answer.status_code == 201, answer.text
    events = read_events(client.get(f"/api/traces/{answer.json()['id']}/events").text)
    return json.loads(events[-1][2])  # type: ignore[no-any-return]


def read_rows(client: httpx.Client, trace_id: str, **query: Any) -> np.ndarray[Any, Any]:
    answer = client.get(f"/api/traces/{trace_id}/rows", params=query)
    assert answer.status_code == 200, answer.text
    header, rows = decode_frame(answer.content)
    assert (header.trace_id, header.start, header.stop) == (trace_id, query["start"], query["stop"])
    return rows[query["address"]]


ADDRESSES = [
    "embeddings",
    "resid_post.1",
    "attn_in.0",
    "q.1",
    "k.0",
    "attn_scores.1",
    "attn_probs.0",
    "lm_head",
]


@pytest.fixture
def client(model_dir: Path) -> Any:
    with serving(model_dir) as running, running.client() as client:
        yield client


def test_what_begins_like_another_recording_says_so_and_has_its_numbers(client: httpx.Client) -> None:
    preview = record(client, max_new_tokens=0)
    count = preview["prompt_count"]
    assert preview["adopted"] == []
    sampling = {"temperature": 2, "seed": 1}
    written = record(client, max_new_tokens=5, sampling=sampling)
    # The last token of a prompt is always read again: its logits are wanted.
    assert written["adopted"] == [{"trace_id": preview["id"], "positions": count - 1}]
    for address in ADDRESSES:
        region = {"address": address, "start": 0, "stop": count - 1}
        one, other = (read_rows(client, state["id"], **region) for state in (preview, written))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        if address.startswith("resid"):
            np.testing.assert_array_equal(one, other)
    # And so does what begins like that one, of both.
    again = record(client, max_new_tokens=5, sampling={"temperature": 2, "seed": 2})
    adopted = {entry["trace_id"]: entry["positions"] for entry in again["adopted"]}
    assert adopted[preview["id"]] == count - 1
    assert set(adopted) <= {preview["id"], written["id"]}


def test_without_a_memory_of_prompts_nothing_is_taken_over(model_dir: Path) -> None:
    with serving(model_dir, prefix_bytes=0) as running, running.client() as client:
        record(client, max_new_tokens=0)
        assert record(client, max_new_tokens=2)["adopted"] == []


def test_a_changed_run_takes_nothing_over(client: httpx.Client) -> None:
    record(client, max_new_tokens=0)
    changed = record(client, interventions=[{"address": "resid_post.0", "operation": "zero"}])
    assert changed["adopted"] == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_rows_are_those_of_the_store(client: httpx.Client, address: str) -> None:
    state = record(client, prompt=" ".join([PROMPT] * 8), max_new_tokens=4, sampling={"temperature": 0})
    positions = state["positions"]
    assert positions > 64
    site = json.loads(client.get(f"/api/traces/{state['id']}/zarr/{address}/zarr.json").text)
    for level in range(2):
        described = site["consolidated_metadata"]["metadata"][str(level)]
        start, stop = 39, positions
        rows = read_rows(client, state["id"], address=address, start=start, stop=stop, level=level)
        # By chunks of 64 rows, as the store has them.
        chunks = described["chunk_grid"]["configuration"]["chunk_shape"]
        grid = [-(-size // side) for size, side in zip(described["shape"], chunks, strict=True)]
        whole = np.full([side * count for side, count in zip(chunks, grid, strict=True)], np.nan, "<f4")
        for place in np.ndindex(*grid):
            key = f"{address}/{level}/c/{'/'.join(map(str, place))}"
            body = client.get(f"/api/traces/{state['id']}/zarr/{key}").content
            at = tuple(slice(i * side, (i + 1) * side) for i, side in zip(place, chunks, strict=True))
            whole[at] = np.frombuffer(body, "<f4").reshape(chunks)
        whole = whole[tuple(slice(0, size) for size in described["shape"])]
        np.testing.assert_array_equal(rows, whole[..., start >> level :, :])


def test_many_sites_come_in_one_answer(client: httpx.Client) -> None:
    state = record(client)
    path, region = f"/api/traces/{state['id']}/rows", {"start": 1, "stop": state["positions"]}
    _, rows = decode_frame(client.get(path, params={"address": ADDRESSES, **region}).content)
    assert list(rows) == ADDRESSES
    for address in ADDRESSES:
        np.testing.assert_array_equal(
            rows[address], read_rows(client, state["id"], address=address, **region)
        )
    crowd = client.get(path, params={"address": ["q.0"] * 65, **region})
    assert (crowd.status_code, crowd.json()["field"]) == (422, "address")


def test_an_answer_of_rows_is_bounded(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    state = record(client)
    region = {"start": 0, "stop": state["positions"]}
    one = read_rows(client, state["id"], address="q.0", **region).size
    monkeypatch.setattr(traces, "MOST_CELLS", 2 * one)
    path = f"/api/traces/{state['id']}/rows"
    assert client.get(path, params={"address": ["q.0", "z.0"], **region}).status_code == 200
    refused = client.get(path, params={"address": ["q.0", "z.0", "q.1"], **region})
    assert (refused.status_code, refused.json()["field"]) == (422, "stop")


def test_rows_that_are_not_there_are_refused(client: httpx.Client) -> None:
    state = record(client)
    positions = state["positions"]
    for query, field in [
        ({"start": 0, "stop": positions + 1}, "stop"),
        ({"start": 3, "stop": 3}, "stop"),
        ({"start": 0, "stop": positions, "level": 9}, "level"),
        ({"start": -1, "stop": positions}, "start"),
    ]:
        answer = client.get(f"/api/traces/{state['id']}/rows", params={"address": "q.0", **query})
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    missing = client.get(f"/api/traces/{state['id']}/rows", params={"address": "q.9", "start": 0, "stop": 1})
    assert (missing.status_code, missing.json()["field"]) == (422, "address")
    assert read_rows(client, state["id"], address="q.0", start=0, stop=1).shape[1] == 1
