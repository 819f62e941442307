"""GGUF models where llama.cpp, Ollama and LM Studio put them, by the names under which they are offered."""

from pathlib import Path

import pytest
from gguf_files import make_causal, make_store, write_gguf

import glassformer as gf
from glassformer.errors import GlassformerError, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.registry.registry import Registry


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("made") / "tiny.gguf", make_causal("llama"))


def place(file: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.read_bytes())
    return target


def list_ids(root: Path) -> list[str]:
    return [source.model_id for source in Catalog([root]).list() if source.kind == "folder"]


def test_files_and_folders_of_them(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("direct.gguf", "publisher/model/only.Q4_0.gguf", "publisher/model/mmproj-only.gguf"):
        place(file, root / name)
    for name in ("several/one.gguf", "several/two.gguf"):
        place(file, root / name)
    # LM Studio's own habit: publisher/model/file.
    assert list_ids(root) == ["direct.gguf", "publisher/model", "several/one.gguf", "several/two.gguf"]
    catalog = Catalog([root])
    for name in ("direct.gguf", "publisher/model", "publisher/model/only.Q4_0.gguf", "several/two.gguf"):
        source = catalog.find(name)
        assert source.folder is not None
        assert source.folder.suffix == ".gguf"
    assert catalog.find("publisher/model/only.Q4_0.gguf").model_id == "publisher/model"
    with pytest.raises(UnknownModel, match=r"holds 2 GGUF models; name one: one.gguf, two.gguf"):
        catalog.find("several")
    assert gf.load(root / "several" / "two.gguf").model_id == "two.gguf"
    assert gf.load(root / "publisher" / "model").loaded.config.model_type == "llama"


def test_a_link_that_leads_out_is_no_model(file: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out.gguf").symlink_to(file)
    with pytest.raises(UnknownModel):
        Catalog([tmp_path / "root"]).find(str(file))
    with pytest.raises(GlassformerError):
        Registry(Catalog([tmp_path / "root"], offline=True), device="cpu").load("out.gguf").result()


def test_ollamas_store(file: Path, tmp_path: Path) -> None:
    store = tmp_path / ".ollama" / "models"
    make_store(
        file,
        store,
        template="{{ .Prompt }}",
        params={"temperature": 0.25, "repeat_penalty": 1.1, "stop": ["x"]},
    )
    make_store(file, store, "somebody/tiny/latest")
    for root in (store, tmp_path / ".ollama"):
        assert list_ids(root) == ["ollama/tiny:1b", "ollama/somebody/tiny:latest"]
    loaded = Registry(Catalog([store]), device="cpu").load("ollama/tiny:1b").result()
    assert loaded.model_id == "ollama/tiny:1b"
    assert loaded.usual_sampling == {"temperature": 0.25, "repetition_penalty": 1.1}
    assert "Its chat template is Ollama's own" in loaded.note


def test_a_store_with_what_is_not_read(file: Path, tmp_path: Path) -> None:
    make_store(file, tmp_path / "over", adapter="weights")
    make_store(file, tmp_path / "lacking")
    next((tmp_path / "lacking" / "blobs").iterdir()).unlink()
    for name, sentence in [("over", "lays an adapter over"), ("lacking", "lacks one of its blobs")]:
        registry = Registry(Catalog([tmp_path / name]), device="cpu")
        with pytest.raises(GlassformerError, match=sentence):
            registry.load("ollama/tiny:1b").result()
