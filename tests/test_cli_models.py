"""`glassformer models` and `doctor --quick`: what lies on this machine, whether it opens and fits, and why not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from adapters import make_adapter
from gguf_files import Kind, make_causal, make_store, write_gguf
from tiny import make_model
from typer.testing import CliRunner

from glassformer.cli import app
from glassformer.files.catalog import Catalog, open_catalog
from glassformer.importing import import_torch
from glassformer.registry.registry import Registry
from glassformer.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a root of its own, Ollama's store, LM Studio's folder and a hub cache."""
    file = write_gguf(tmp_path / "made" / "tiny.gguf", make_causal("llama"), kind=Kind.Q8_0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GLASSFORMER_LOCAL_MODELS", "true")
    monkeypatch.setenv("GLASSFORMER_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    make_store(file, tmp_path / ".ollama" / "models")
    place = tmp_path / ".lmstudio" / "models" / "publisher" / "model" / "only.gguf"
    place.parent.mkdir(parents=True)
    shutil.copy(file, place)
    make_model(tmp_path / "hub" / "models--owner--name" / "snapshots" / "abc123", "llama")
    make_model(tmp_path / "root" / "mine", "gpt2")
    (tmp_path / "root" / "cut.gguf").write_bytes(file.read_bytes()[:5000])
    return tmp_path


def run(*arguments: str) -> Any:
    done = CliRunner(env={"COLUMNS": "240", "NO_COLOR": "1"}).invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def test_everything_on_the_machine_is_listed(home: Path) -> None:
    done = run("models", "--json", "--model-dir", str(home / "root"))
    rows = {row["model_id"]: row for row in json.loads(done.stdout)}
    assert {name: row["where"] for name, row in rows.items()} == {
        "tales": "bundled",
        "sorter": "bundled",
        "mine": "folder",
        "cut.gguf": "folder",
        "ollama/tiny:1b": "Ollama",
        "publisher/model": "LM Studio",
        "owner/name": "hub cache",
    }
    assert rows["ollama/tiny:1b"]["form"] == "GGUF Q8_0"
    assert rows["mine"]["form"] == "safetensors"
    fine = {name for name, row in rows.items() if row["opens"] and row["fits"]}
    assert fine == rows.keys() - {"cut.gguf"}
    assert "cut off" in rows["cut.gguf"]["reason"]
    assert rows["ollama/tiny:1b"]["needed_bytes"] > 3 * rows["ollama/tiny:1b"]["stored_bytes"]
    shown = run("models", "--model-dir", str(home / "root")).stdout
    assert "Ollama" in shown
    assert "cut off" in shown


def test_what_does_not_fit_says_the_numbers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSFORMER_MODEL_BYTES", "1000")
    rows = {row["model_id"]: row for row in json.loads(run("models", "--json").stdout)}
    assert rows["tales"]["opens"]
    assert not rows["tales"]["fits"]
    assert rows["tales"]["reason"] == "It needs 4.0 MB of memory, and 1 kB are set aside for models."


def test_a_server_offers_the_same(home: Path) -> None:
    import_torch()
    registry = Registry(open_catalog(Settings(model_dirs=[home / "root"])), device="cpu")
    # What is not looked at within a moment is by the next.
    offered = {one.model_id: one for _ in range(3) for one in registry.summaries()}
    assert offered["ollama/tiny:1b"].store == "Ollama"
    assert offered["ollama/tiny:1b"].form == "GGUF Q8_0"
    assert offered["owner/name"].opens
    assert offered["cut.gguf"].opens is False
    assert "cut off" in offered["cut.gguf"].reason
    assert registry.load("publisher/model").result().config.model_type == "llama"


def test_nothing_of_others_without_being_let(home: Path) -> None:
    catalog = open_catalog(Settings(local_models=False))
    assert [source.model_id for source in catalog.list()] == ["tales", "sorter"]
    assert [source.model_id for source in Catalog().list()] == ["tales", "sorter"]


@pytest.mark.parametrize("name", ["mine", "ollama/tiny:1b", "publisher/model", "owner/name"])
def test_the_doctor_tells_before_a_weight_is_read(home: Path, name: str) -> None:
    told = run("doctor", name, "--quick", "--device", "cpu", "--model-dir", str(home / "root")).stdout
    for line in ("Files: ", "Memory: ", "Tokenizer: ", "Picture: 2 blocks"):
        assert line in told


def test_the_doctor_names_what_is_wrong(home: Path) -> None:
    done = run("doctor", "cut.gguf", "--quick", "--device", "cpu", "--model-dir", str(home / "root"))
    assert done.exit_code == 1
    assert "cut off" in done.stderr


@pytest.fixture
def adapters(home: Path) -> dict[str, tuple[bool | None, str]]:
    """Adapters by name, each with whether it opens and why not; the base of most lies in a root of its own."""
    base, root = home / "elsewhere" / "base", home / "root"
    make_model(base, "llama")
    make_adapter(base, root / "sound")
    make_adapter(base, root / "turned", peft_type="OFT")
    make_adapter(base, root / "bare")
    (root / "bare" / "adapter_model.safetensors").unlink()
    make_adapter(base, root / "alone", base_model_name_or_path="nobody/nothing")
    make_model(home / "elsewhere" / "broken", "llama")
    (home / "elsewhere" / "broken" / "config.json").write_text('{"model_type": "llama", "kernel_config": 1}')
    make_adapter(base, root / "astray", base_model_name_or_path="/any/broken")
    return {
        "base+sound": (True, ""),
        "base+turned": (False, "turns a matrix"),
        "base+bare": (False, "has no adapter_model.safetensors"),
        "nobody/nothing+alone": (None, "base 'nobody/nothing' is not on this machine"),
        "broken+astray": (False, "base 'broken' cannot be loaded: The model's config.json names code"),
    }


def test_list_server_and_doctor_agree_about_adapters(
    home: Path, adapters: dict[str, tuple[bool | None, str]]
) -> None:
    import_torch()
    dirs = [home / "elsewhere", home / "root"]
    given = [part for place in dirs for part in ("--model-dir", str(place))]
    rows = {row["model_id"]: row for row in json.loads(run("models", "--json", *given).stdout)}
    registry = Registry(open_catalog(Settings(model_dirs=dirs)), device="cpu")
    offered = {one.model_id: one for _ in range(5) for one in registry.summaries()}
    for name, (opens, reason) in adapters.items():
        row, one = rows[name], offered[name]
        assert row["opens"] == one.opens == opens, name
        assert row["reason"] == one.reason
        assert reason in one.reason
        for key in ("form", "family", "stored_bytes", "needed_bytes", "fits"):
            assert row[key] == getattr(one, key), (name, key)
        if opens is None:
            continue  # the doctor goes on to ask the hub
        told = run("doctor", name, "--quick", "--device", "cpu", *given)
        assert told.exit_code == (0 if opens else 1), told.output
        assert reason in (told.stdout if opens else told.stderr)
    sound = run("doctor", "sound", "--quick", "--device", "cpu", *given).stdout
    for line in ("Files: adapter of ", " over 'base'", "It fits", "Tokenizer: ", "Picture: 2 blocks"):
        assert line in sound
    assert rows["base+sound"]["form"] == "adapter"
    assert rows["base+sound"]["family"] == "llama"
