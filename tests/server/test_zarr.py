"""The stores as their readers see them: zarr-python and xarray on the server's addresses, caches, wrong keys."""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from serving import Running
from tiny import read_model

PROMPT = "Mia gives the ball to Tom. Who has the ball?"


@pytest.fixture(autouse=True)
def quiet_readers() -> Iterator[None]:
    # Of fsspec and xarray themselves, about their own event loops and defaults.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def recording(running: Running) -> dict[str, Any]:
    with running.client() as client:
        state = client.post("/api/traces", json={"model_id": "llama", "prompt": PROMPT}).json()
        client.get(f"/api/traces/{state['id']}/events")
        return client.get(f"/api/traces/{state['id']}").json()


@pytest.fixture(scope="module")
def truth(running: Running, recording: dict[str, Any]) -> Any:
    (root,) = running.services.registry.catalog.roots
    model = read_model(root / "llama", attn_implementation="eager")
    ids = torch.tensor([[token["id"] for token in recording["tokens"]]])
    with torch.no_grad():
        return model(ids, output_attentions=True)


def test_zarr_python_opens_a_recording_by_its_address(running: Running, recording: Any, truth: Any) -> None:
    group = zarr.open_group(f"{running.url}/api/traces/{recording['id']}/zarr", mode="r")
    probabilities = group["attn_probs.1/0"]
    assert isinstance(probabilities, zarr.Array)
    assert probabilities.metadata.dimension_names == ("head", "query", "key")  # type: ignore[union-attr]
    assert probabilities.attrs["units"] == "1"
    assert probabilities.attrs["provenance"] == "recomputed"
    np.testing.assert_allclose(probabilities[:], truth.attentions[1][0].numpy(), atol=1e-5)
    np.testing.assert_allclose(group["lm_head/0"][:], truth.logits[0].numpy(), atol=1e-4)
    assert group.attrs["token_ids"] == [token["id"] for token in recording["tokens"]]


def test_xarray_opens_an_address_with_its_levels(running: Running, recording: Any, truth: Any) -> None:
    url = f"{running.url}/api/traces/{recording['id']}/zarr"
    with xr.open_zarr(url, group="lm_head") as opened:
        assert opened["0"].dims == ("pos", "vocab")
        assert opened.attrs["address"] == "lm_head"
        assert opened["1"].dims == ("pos_2", "vocab_2")
        np.testing.assert_allclose(opened["0"].values, truth.logits[0].numpy(), atol=1e-4)
        pooled, exact = opened["1"].values, opened["0"].values
        assert pooled[1, 3] == max(exact[2:4, 6:8].ravel(), key=abs)
        np.testing.assert_allclose(opened["1_mean"].values[1, 3], exact[2:4, 6:8].mean(), rtol=1e-5)


def test_xarray_opens_a_whole_recording_as_a_tree(running: Running, recording: Any, truth: Any) -> None:
    with xr.open_datatree(f"{running.url}/api/traces/{recording['id']}/zarr", engine="zarr") as tree:
        assert {"embeddings", "q.0", "mlp_act.1", "lm_head"} <= set(tree.children)
        found = tree["attn_probs.0"]["0"]
        assert found.dims == ("head", "query", "key")
        np.testing.assert_allclose(found.values, truth.attentions[0][0].numpy(), atol=1e-5)


def test_weights_are_a_store_like_any_other(running: Running) -> None:
    (root,) = running.services.registry.catalog.roots
    expected = read_model(root / "llama").state_dict()
    name = "model.layers.1.mlp.down_proj.weight"
    with xr.open_zarr(f"{running.url}/api/models/llama/zarr", group=name) as opened:
        assert opened.attrs["provenance"] == "parameter"
        assert opened.attrs["role"] == "down"
        np.testing.assert_array_equal(opened["0"].values, expected[name].numpy())


@pytest.mark.parametrize("store", ["traces/{id}", "models/llama"])
def test_a_reader_that_has_a_key_is_told_so(client: httpx.Client, recording: Any, store: str) -> None:
    base = f"/api/{store.format(**recording)}/zarr"
    root = client.get(f"{base}/zarr.json")
    chunk = next(path for path in root.json()["consolidated_metadata"]["metadata"] if path.endswith("/0"))
    rank = len(root.json()["consolidated_metadata"]["metadata"][chunk]["shape"])
    for key in ("zarr.json", f"{chunk}/zarr.json", "/".join([chunk, "c", *["0"] * rank])):
        answer = client.get(f"{base}/{key}")
        assert answer.status_code == 200
        etag = answer.headers["ETag"]
        assert etag.startswith('"')
        assert etag.endswith('"')
        again = client.get(f"{base}/{key}", headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
        assert client.get(f"{base}/{key}", headers={"If-None-Match": '"other"'}).content == answer.content


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("br, gzip;q=0.1", "gzip"), ("gzip;q=0", None), ("br, gzip; q=0.0", None)],
)
def test_a_document_is_packed_for_who_takes_it(
    client: httpx.Client, recording: Any, accepted: str, coding: str | None
) -> None:
    answer = client.get(
        f"/api/traces/{recording['id']}/zarr/zarr.json", headers={"Accept-Encoding": accepted}
    )
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.json()["node_type"] == "group"


def test_keys_are_answered_one_by_one(running: Running, client: httpx.Client) -> None:
    """Asking for the metadata computes nothing, and a chunk of one block leaves the others alone."""
    state = client.post("/api/traces", json={"model_id": "llama", "prompt": PROMPT}).json()
    client.get(f"/api/traces/{state['id']}/events")
    store = running.services.store
    held = lambda: [block for block in (0, 1) if store.find(state["id"], block, 1) is not None]  # noqa: E731
    client.get(f"/api/traces/{state['id']}/zarr/zarr.json")
    assert held() == []
    client.get(f"/api/traces/{state['id']}/zarr/mlp_act.1/0/c/0/0")
    assert held() == [1]


@pytest.mark.parametrize(
    "key",
    [
        "nothing",
        "lm_head",
        "lm_head/0/c/9/0",
        "lm_head/0/c/0",
        "lm_head/77/zarr.json",
        "lm_head/0/c/-1/0",
        "%2e%2e/x",
    ],
)
def test_a_key_outside_the_store_is_told_in_one_sentence(
    client: httpx.Client, recording: Any, key: str
) -> None:
    for base in (f"/api/traces/{recording['id']}/zarr", "/api/models/llama/zarr"):
        answer = client.get(f"{base}/{key}")
        assert answer.status_code == 404
        error = json.loads(answer.content)["error"]
        assert error.endswith(".")
        assert "\n" not in error
