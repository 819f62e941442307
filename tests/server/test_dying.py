"""An engine whose thread dies of what is no Exception: everybody is told, and the next request has the model anew."""

from pathlib import Path
from typing import Any

import pytest
from serving import serving
from tiny import make_model

from glassformer.engine.engine import Engine


class Panic(BaseException):
    """As native code raises it (pyo3's PanicException)."""


def test_a_model_whose_engine_dies_fails_and_is_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "llama", "llama")

    def panic(*_: Any) -> None:
        raise Panic

    asked = {"model_id": "llama", "prompt": "Mia has a ball.", "max_new_tokens": 30, "temperature": 0}
    with serving(tmp_path) as running, running.client() as client:
        expected = client.post("/generate", json=asked, timeout=120).json()["text"]
        assert client.get("/ready").status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "_step", panic)
            answer = client.post("/generate", json=asked, headers={"Origin": "http://localhost:1"})
            assert answer.status_code == 503, answer.text
            assert "Panic" in answer.json()["error"]
            assert answer.headers["access-control-allow-origin"]
            models = {one["model_id"]: one for one in client.get("/api/models").json()["models"]}
            assert models["llama"]["status"] == "failed"
            assert "Panic" in models["llama"]["error"]
            assert client.get("/ready").status_code == 503
        assert client.post("/generate", json=asked, timeout=120).json()["text"] == expected
        assert client.get("/ready").status_code == 200
        assert client.delete("/api/models/llama").is_success
