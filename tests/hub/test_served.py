"""Models of the hub, from a hub of our own, in a server of its own process (the library reads its switches once)."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from local_hub import LocalHub, local_hub
from tiny import make_model

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-c", "from glassformer.cli import app; app()", "serve", "--port", "0"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, LocalHub, Path]]:
    root, home = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("home")
    good = make_model(root / "someone" / "tiny-llama", "llama")
    (good / "modeling_evil.py").write_text("raise SystemExit")
    (good / "pytorch_model.bin").write_bytes(b"pickle")
    (good / "onnx").mkdir()
    (good / "onnx" / "model.safetensors").write_bytes(b"not wanted")
    pickled = make_model(root / "someone" / "pickled", "gpt2")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    coded = make_model(root / "someone" / "coded", "gpt2")
    config = json.loads((coded / "config.json").read_text())
    (coded / "config.json").write_text(
        json.dumps({**config, "model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}})
    )
    make_model(root / "gated" / "model", "gpt2")
    with local_hub(root) as hub:
        hub.gated.add("gated/model")
        process = subprocess.Popen(
            [*COMMAND, "--hub-endpoint", hub.url, "--default-model", "sorter"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"},
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removesuffix("/llm")
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield client, hub, home
        finally:
            process.kill()
            process.communicate()


Served = tuple[httpx.Client, LocalHub, Path]


def test_a_config_is_read_without_the_weights(served: Served) -> None:
    client, hub, home = served
    body = client.post("/config", json={"model_id": "someone/tiny-llama"}).json()
    assert body["n_embd"] == 32
    assert not any("model.safetensors" in line for line in hub.lines)
    assert not list(home.rglob("*.safetensors"))


def test_a_model_is_fetched_followed_and_served(served: Served) -> None:
    client, hub, home = served
    text = client.get("/api/models/someone/tiny-llama/load").text
    progress = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    stages = [step["stage"] for step in progress]
    assert stages[-1] == "ready"
    assert "downloading" in stages
    last = [step for step in progress if step["stage"] == "downloading"][-1]
    assert last["done_bytes"] == last["total_bytes"] > 100_000
    assert last["fraction"] == 1
    body = {"model_id": "someone/tiny-llama", "prompt": "the quick", "max_new_tokens": 5, "temperature": 0}
    assert client.post("/generate", json=body).json()["usage"]["completion_tokens"] == 5
    summaries = {model["model_id"]: model for model in client.get("/api/models").json()["models"]}
    assert summaries["someone/tiny-llama"]["source"] == "hub"
    # Only what is safe and needed was asked for.
    fetched = {
        line.rsplit("/", 1)[-1] for line in hub.lines if line.startswith("GET") and "/resolve/" in line
    }
    assert "model.safetensors" in fetched
    assert not any(re.search(r"\.(py|bin)$", name) for name in fetched)
    assert not list(home.rglob("*.py"))
    assert not any("onnx" in line for line in hub.lines)
    # Loaded again, it comes from the cache.
    hub.asked.clear()
    client.delete("/api/models/someone/tiny-llama")
    assert client.post("/generate", json=body).status_code == 200
    assert not any(line.startswith("GET") and "resolve" in line for line in hub.lines)


@pytest.mark.parametrize(
    ("model_id", "status", "sentence"),
    [
        ("someone/pickled", 422, "hf download someone/pickled --local-dir model && cd model && python -c"),
        ("someone/coded", 422, "code of its own"),
        ("someone/nothing", 404, "no model"),
        ("nothing", 404, "no model"),
        ("gated/model", 403, "hub_token"),
        ("someone/tiny-llama@nowhere", 404, "no such revision"),
    ],
)
def test_refusals(served: Served, model_id: str, status: int, sentence: str) -> None:
    client, hub, _ = served
    hub.asked.clear()
    for answer in (
        client.post("/generate", json={"model_id": model_id, "prompt": "the"}),
        client.post(f"/api/models/{model_id}/load"),
    ):
        assert answer.status_code == status, answer.text
        assert sentence in answer.json()["error"]
        assert answer.json()["field"] == "model_id"
    assert not any("/resolve/" in line and line.endswith((".bin", ".safetensors")) for line in hub.lines)
    if model_id == "someone/coded":
        assert client.post("/config", json={"model_id": model_id}).status_code == 422
