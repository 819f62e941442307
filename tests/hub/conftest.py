"""The hub's library as on a machine that may use a hub, but with nobody logged in and a cache of its own."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from local_hub import LocalHub, local_hub
from safetensors.torch import load_file, save_file
from tiny import make_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in one file, the same in two, and in two that no index names."""
    root = tmp_path_factory.mktemp("models")
    whole = make_model(root / "someone" / "whole", "llama")
    parts = Path(shutil.copytree(whole, root / "someone" / "parts"))
    tensors = load_file(parts / "model.safetensors")
    (parts / "model.safetensors").unlink()
    names = sorted(tensors, key=lambda name: tensors[name].numel())
    files = {"a.safetensors": names[:-2], "b.safetensors": names[-2:]}
    for file, held in files.items():
        save_file({name: tensors[name] for name in held}, parts / file, metadata={"format": "pt"})
    weight_map = {name: file for file, held in files.items() for name in held}
    index = parts / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (parts / "consolidated.safetensors").write_bytes(b"the same once more, which nobody needs")
    loose = Path(shutil.copytree(parts, root / "someone" / "loose"))
    (loose / "model.safetensors.index.json").unlink()
    for number, file in enumerate(files, 1):
        (loose / file).rename(loose / f"model-0000{number}-of-00002.safetensors")
    (root / "someone" / "packed").mkdir()
    for kind in ("Q4_0", "Q8_0"):
        (root / "someone" / "packed" / f"tiny.{kind}.gguf").write_bytes(b"GGUF")
    return root


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "usual"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "nobody"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    # Ten megabytes as the library ships: more than all of these models.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 16 * 1024)
    huggingface_hub.close_session()
    with local_hub(models) as found:
        yield found
    huggingface_hub.close_session()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
