"""Runs and their models over HTTP: too little memory, models that go and come back, recordings that are deleted."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from serving import Running, read_events, serving
from tiny import make_model, make_models, read_model
from websockets.sync.client import connect

from glassformer.run.run_store import RunStore

IDS = [*range(5, 45)]


def record(client: httpx.Client, *, model_id: str = "llama", **more: Any) -> dict[str, Any]:
    """A finished recording's state."""
    body = {"model_id": model_id, "token_ids": IDS, "sampling": {"temperature": 0}, **more}
    answer = client.post("/api/traces", json=body)
    assert answer.status_code == 201, answer.text
    return json.loads(read_events(client.get(f"/api/traces/{answer.json()['id']}/events").text)[-1][2])


def read_state(client: httpx.Client, trace_id: str) -> dict[str, Any]:
    return client.get(f"/api/traces/{trace_id}").json()


def read_residual(client: httpx.Client, trace_id: str, block: int = 1) -> np.ndarray[Any, Any]:
    answer = client.get(f"/api/traces/{trace_id}/zarr/resid_pre.{block}/0/c/0/0")
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4").reshape(64, -1)


def reload(client: httpx.Client, **how: str) -> None:
    assert client.post("/api/models/llama/load", json=how).status_code == 202
    read_events(client.get("/api/models/llama/load").text)


def hidden_states(folder: Path, ids: list[int], dtype: torch.dtype) -> list[np.ndarray[Any, Any]]:
    """What plain transformers computes."""
    with torch.inference_mode():
        out = read_model(folder, dtype=dtype)(torch.tensor([ids]), output_hidden_states=True)
    return [hidden[0].float().numpy() for hidden in out.hidden_states]


@contextmanager
def stopped_at(running: Running, call: int = 1) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Have the model's first block wait in its `call`-th forward: who waits for it to come there, who lets it go on."""
    reached, goes_on, seen = threading.Event(), threading.Event(), []

    def wait(*_: Any) -> None:
        if threading.current_thread().name.startswith("after loading"):
            return  # the model's own checks, which wait for nobody
        seen.append(1)
        if len(seen) == call:
            reached.set()
            assert goes_on.wait(30)

    loaded = running.services.registry.load("llama").result(30)
    handle = loaded.structure.blocks[0].register_forward_pre_hook(wait)
    try:
        yield reached, goes_on
    finally:
        goes_on.set()
        handle.remove()


def give_up(running: Running, trace_id: str) -> None:
    run = running.services.store.get(trace_id)
    assert run.give_up()
    run._keeper.drop_blocks(run.id)


def is_one_sentence(answer: httpx.Response) -> bool:
    error = answer.json()["error"]
    return error.endswith(".") and "\n" not in error and len(error) < 400


def test_a_recording_that_cannot_fit_is_refused_in_numbers(model_dir: Path) -> None:
    with serving(model_dir, trace_bytes=2**20) as running, running.client() as client:
        kept = record(client)
        body = {"model_id": "llama", "token_ids": [5] * 3000}
        answer = client.post("/api/traces", json=body)
        assert answer.status_code == 422
        assert answer.json()["field"] == "token_ids"
        assert "up to 3,000 positions takes up to 2.7 MB, more than the 1.0 MB" in answer.json()["error"]
        assert is_one_sentence(answer)
        answer = client.post("/api/traces", json={**body, "token_ids": IDS, "max_new_tokens": 3000})
        assert (answer.status_code, answer.json()["field"]) == (422, "max_new_tokens")
        # Nothing is lost, and what fits is recorded.
        assert running.services.store.get(kept["id"]).recording.is_held
        assert record(client, max_new_tokens=3)["positions"] == len(IDS) + 3
        assert len(client.get("/api/traces").json()["traces"]) == 2


def test_a_recording_that_has_to_wait_for_others_is_told_for_how_long(model_dir: Path) -> None:
    with serving(model_dir, trace_bytes=2**20) as running, running.client() as client:
        body = {"model_id": "llama", "token_ids": [5] * 900, "max_new_tokens": 100}
        record(client)  # so that the model has been looked into
        with stopped_at(running) as (reached, goes_on):
            first = client.post("/api/traces", json=body).json()
            assert reached.wait(30)
            answer = client.post("/api/traces", json={**body, "token_ids": [6] * 1000})
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert "runs under way hold 896 kB of the 1.0 MB" in answer.json()["error"]
            assert is_one_sentence(answer)
            goes_on.set()
            client.get(f"/api/traces/{first['id']}/events")
        assert client.post("/api/traces", json={**body, "token_ids": [6] * 1000}).status_code == 201


def test_a_recording_comes_back_to_the_bit_under_the_same_etag(
    running: Running, client: httpx.Client
) -> None:
    state = record(client, max_new_tokens=12)
    url = f"/api/traces/{state['id']}/zarr/mlp_act.1/0/c/0/0"
    before = client.get(url)
    give_up(running, state["id"])
    after = client.get(url)
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert read_state(client, state["id"])["rebuilt_difference"] is None


def test_a_model_is_not_unloaded_while_a_cell_is_explained(model_dir: Path) -> None:
    with serving(model_dir) as running, running.client() as client:
        state = record(client)
        give_up(running, state["id"])
        found: list[httpx.Response] = []

        def ask() -> None:
            with running.client() as other:
                params = {"address": "resid_post.0", "index": "3,4"}
                found.append(other.get(f"/api/traces/{state['id']}/explain", params=params))

        with stopped_at(running) as (reached, goes_on):
            asking = threading.Thread(target=ask)
            asking.start()
            assert reached.wait(30)
            refused = client.delete("/api/models/llama")
            assert refused.status_code == 409
            assert is_one_sentence(refused)
            goes_on.set()
            asking.join()
        assert found[0].status_code == 200
        expected = hidden_states(model_dir / "llama", IDS, torch.float32)[1][3, 4]
        assert found[0].json()["value"] == pytest.approx(float(expected), abs=1e-5)
        assert client.delete("/api/models/llama").status_code == 204
        assert client.get(f"/api/traces/{state['id']}").status_code == 404


def test_a_recording_that_is_deleted_while_it_is_read_is_told_as_gone(model_dir: Path) -> None:
    with serving(model_dir) as running, running.client() as client:
        state = record(client, max_new_tokens=20)
        give_up(running, state["id"])
        found: list[httpx.Response] = []

        def ask() -> None:
            with running.client() as other:
                found.append(other.get(f"/api/traces/{state['id']}/zarr/resid_pre.1/0/c/0/0"))

        with stopped_at(running, call=5) as (reached, goes_on):
            asking = threading.Thread(target=ask)
            asking.start()
            assert reached.wait(30)
            assert client.delete(f"/api/traces/{state['id']}").status_code == 204
            goes_on.set()
            asking.join()
        assert found[0].status_code == 404
        assert is_one_sentence(found[0])
        assert record(client)["positions"] == len(IDS)


def test_recordings_outlive_a_loading_in_another_format(model_dir: Path) -> None:
    with serving(model_dir, default_model="sorter") as running, running.client() as client:
        state = record(client, max_new_tokens=6)
        ids = [token["id"] for token in state["tokens"]]
        exact = [read_residual(client, state["id"], block) for block in range(2)]
        last = running.services.store.get(state["id"]).recording.residual(2).numpy().copy()
        reload(client, dtype="bfloat16")
        # Its tokens are told, and how they were drawn, before anybody has asked for a cell.
        kept = read_state(client, state["id"])
        assert kept["tokens"] == state["tokens"]
        assert kept["positions"] == state["positions"]
        coarse = read_residual(client, state["id"])
        expected = hidden_states(model_dir / "llama", ids, torch.bfloat16)[1]
        np.testing.assert_allclose(coarse[: len(ids)], expected, atol=0.02 * float(np.abs(expected).max()))
        assert not np.array_equal(coarse, exact[1], equal_nan=True)
        told = read_state(client, state["id"])["rebuilt_difference"]
        changed = running.services.store.get(state["id"]).recording
        real = [np.abs(changed.residual(2).numpy() - last).max()]
        real += [np.nanmax(np.abs(read_residual(client, state["id"], at) - exact[at])) for at in range(2)]
        assert 0 < told <= max(real)
        attributes = client.get(f"/api/traces/{state['id']}/zarr/resid_pre.1/zarr.json").json()["attributes"]
        assert attributes["provenance"] == "rebuilt"
        params = {"address": "resid_pre.1", "index": "3,4"}
        cell = client.get(f"/api/traces/{state['id']}/explain", params=params).json()
        assert cell["provenance"] == "rebuilt"
        assert cell["value"] == pytest.approx(float(coarse[3, 4]))
        assert running.services.store.get(state["id"]).loaded.dtype == torch.bfloat16


def test_a_recording_that_cannot_be_made_again_says_why(tmp_path: Path) -> None:
    make_model(tmp_path / "llama", "llama")
    with serving(tmp_path, default_model="sorter") as running, running.client() as client:
        state = record(client)
        shutil.rmtree(tmp_path / "llama")
        make_model(tmp_path / "llama", "llama", num_hidden_layers=3)
        reload(client, dtype="bfloat16")
        for path in ("zarr/resid_pre.1/0/c/0/0", "explain?address=resid_pre.1&index=1,1", "lens?pos=3"):
            answer = client.get(f"/api/traces/{state['id']}/{path}")
            assert answer.status_code == 422, path
            assert "made with float32 on cpu, and cannot be made again" in answer.json()["error"]
            assert "3 blocks instead of 2" in answer.json()["error"]
            assert is_one_sentence(answer)
        assert read_state(client, state["id"])["tokens"] == state["tokens"]
        assert record(client)["status"] == "done"


def test_a_model_that_made_room_comes_back_for_its_recordings(model_dir: Path) -> None:
    sizes = [(model_dir / name / "model.safetensors").stat().st_size for name in ("llama", "gpt2")]
    with serving(model_dir, model_bytes=max(sizes) + 10_000) as running, running.client() as client:
        state = record(client)
        before = read_residual(client, state["id"])
        assert record(client, model_id="gpt2")["status"] == "done"
        assert not running.services.store.get(state["id"]).has_model
        assert read_state(client, state["id"])["tokens"] == state["tokens"]
        np.testing.assert_array_equal(read_residual(client, state["id"]), before)
        give_up(running, state["id"])
        np.testing.assert_array_equal(read_residual(client, state["id"]), before)
        assert read_state(client, state["id"])["rebuilt_difference"] is None


def test_the_model_of_a_recording_that_is_looked_at_goes_last(tmp_path: Path) -> None:
    root = make_models(tmp_path)
    for name in ("second", "third"):
        shutil.copytree(root / "llama", root / name)
    size = (root / "llama" / "model.safetensors").stat().st_size
    with (
        serving(root, model_bytes=2 * size + 10_000, copy_weights=False) as running,
        running.client() as client,
    ):
        state = record(client)
        with connect(running.url.replace("http", "ws") + "/api/live", proxy=None) as socket:
            socket.send(json.dumps({"trace_id": state["id"], "addresses": ["resid_pre.0"]}))
            socket.send(json.dumps({"trace_id": state["id"], "addresses": ["nothing.9"]}))
            assert "error" in json.loads(socket.recv(10))  # so the subscription before it has been taken
            # Used later than the one that is looked at, and goes sooner.
            assert record(client, model_id="second")["status"] == "done"
            assert record(client, model_id="third")["status"] == "done"
            statuses = {one["model_id"]: one["status"] for one in client.get("/api/models").json()["models"]}
            assert [statuses[name] for name in ("llama", "second", "third")] == [
                "ready",
                "available",
                "ready",
            ]


def test_a_model_that_was_trained_again_meanwhile_is_found_out(tmp_path: Path) -> None:
    """In the same format, under the same name: its rows are others, and say so."""
    root = make_models(tmp_path)
    sizes = [(root / name / "model.safetensors").stat().st_size for name in ("llama", "gpt2")]
    with serving(root, model_bytes=max(sizes) + 10_000) as running, running.client() as client:
        state = record(client)
        assert record(client, model_id="gpt2")["status"] == "done"
        assert not running.services.store.get(state["id"]).has_model
        model = read_model(root / "llama")
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight.mul_(1.5)
        model.save_pretrained(root / "llama")
        found = read_residual(client, state["id"])[: len(IDS)]
        expected = hidden_states(root / "llama", IDS, torch.float32)[1]
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
        assert read_state(client, state["id"])["rebuilt_difference"] > 0


def test_runs_in_the_store_of_a_notebook_hold_the_models_of_the_page(model_dir: Path) -> None:
    """The page's server shares the handles' runs, whose models nobody can unload; those it loads itself it can."""
    with serving(model_dir) as running, running.client() as client:
        store = RunStore(2**26)
        running.services.use_store(store)
        state = record(client)
        assert [run.id for run in store.list()] == [state["id"]]
        with stopped_at(running) as (reached, goes_on):
            body = {"model_id": "llama", "token_ids": IDS, "max_new_tokens": 3}
            other = client.post("/api/traces", json=body).json()
            assert reached.wait(30)
            assert client.delete("/api/models/llama").status_code == 409
            goes_on.set()
            client.get(f"/api/traces/{other['id']}/events")
        assert client.delete("/api/models/llama").status_code == 204
        assert store.list() == []
