"""Shapes over HTTP: listed, drawn from configs without loading, refused with one sentence."""

import json
import threading
import time
from pathlib import Path

import httpx
import pytest
from serving import Running, serving

from glassformer.bundled.shape import SHAPES
from glassformer.loading.reading import BUILDING


def test_the_bundled_ones_are_listed(client: httpx.Client) -> None:
    body = client.get("/api/shapes").json()
    assert [shape["shape_id"] for shape in body["shapes"]] == list(SHAPES)
    assert body["most_beside"] == 3


def test_one_is_small_whatever_its_size(client: httpx.Client) -> None:
    answer = client.get("/api/shapes/llama3-405b/anatomy")
    assert answer.status_code == 200
    assert len(answer.content) < 25_000
    shape = answer.json()
    assert shape["anatomy"]["parameters"] == 405_853_388_800
    assert [len(template["blocks"]) for template in shape["templates"]] == [126]
    again = client.get("/api/shapes/llama3-405b/anatomy", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_model_of_this_server_has_one_without_being_loaded(client: httpx.Client) -> None:
    client.delete("/api/models/gpt2")
    # A folder comes before the bundled shape of the same name.
    shape = client.get("/api/shapes/gpt2/anatomy").json()
    assert shape["source"] == "model"
    assert shape["anatomy"]["dimensions"]["d_model"] == 32
    statuses = {model["model_id"]: model["status"] for model in client.get("/api/models").json()["models"]}
    assert statuses["gpt2"] == "available"
    assert client.get("/api/shapes/tales/anatomy").json()["anatomy"]["parameters"] == 1_000_832


@pytest.mark.parametrize("shape_id", ["nope", "no/such", "../etc", "%00", "x" * 600])
def test_an_unknown_one_is_named(client: httpx.Client, shape_id: str) -> None:
    answer = client.get(f"/api/shapes/{shape_id}/anatomy")
    assert answer.status_code in (404, 422)
    assert answer.json()["error"].endswith(".")
    if shape_id in ("nope", "no/such"):
        assert answer.status_code == 404
        assert shape_id in answer.json()["error"]
        assert answer.json()["field"] == "shape_id"


def test_a_hostile_config_is_refused_and_the_next_request_works(
    client: httpx.Client, running: Running, model_dir: Path
) -> None:
    folder = model_dir / "hostile"
    folder.mkdir(exist_ok=True)
    config = json.loads(SHAPES["llama3-8b"].config.read_text())
    try:
        (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**12}))
        answer = client.get("/api/shapes/hostile/anatomy")
        assert answer.status_code == 422
        assert answer.json()["field"] == "num_hidden_layers"
        (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
        assert client.get("/api/shapes/hostile/anatomy").json()["anatomy"]["dimensions"]["blocks"] == 2
        (folder / "config.json").unlink()
        (folder / "config.json").symlink_to("/etc/hostname")
        assert client.get("/api/shapes/hostile/anatomy").status_code == 422
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert client.get("/api/shapes/mixtral-8x7b/anatomy").status_code == 200


def test_a_model_that_does_not_fit_offers_its_shape(model_dir: Path) -> None:
    with serving(model_dir, model_bytes=2000, default_model="tales") as server, server.client() as client:
        refused = client.post("/api/models/llama/load")
        assert refused.status_code == 503
        assert "set aside for models" in refused.json()["error"]
        assert refused.json()["shape"] == "/llm?shape=llama"
        assert client.get("/api/shapes/llama/anatomy").json()["anatomy"]["dimensions"]["blocks"] == 2


def test_no_reader_waits_for_those_who_draw(client: httpx.Client, running: Running, model_dir: Path) -> None:
    known = client.get("/api/shapes/gpt2/anatomy")
    folder = model_dir / "slow"
    folder.mkdir(exist_ok=True)
    config = json.loads(SHAPES["llama3-8b"].config.read_text()) | {"num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(config))
    answers: list[httpx.Response] = []

    def ask() -> None:
        with running.client() as own:
            answers.append(own.get("/api/shapes/slow/anatomy"))

    # More than there are threads that read.
    asking = [threading.Thread(target=ask) for _ in range(12)]
    try:
        with BUILDING:  # no model can be laid out meanwhile
            for thread in asking:
                thread.start()
            until_secs = time.monotonic() + 20
            while running.services.count_drawing() < len(asking):
                assert time.monotonic() < until_secs, "they do not all wait to be drawn"
                time.sleep(0.02)
            again = client.get("/api/shapes/gpt2/anatomy")
            trace = client.post("/api/traces", json={"model_id": "llama", "prompt": "Tom has a ball."})
            assert not answers
        assert again.content == known.content
        assert trace.status_code == 201
        for thread in asking:
            thread.join(30)
        assert [answer.status_code for answer in answers] == [200] * len(asking)
        assert len({answer.content for answer in answers}) == 1
    finally:
        (folder / "config.json").unlink()
        folder.rmdir()
