"""Which ids are models, and which never are."""

from pathlib import Path

import pytest

import glassformer as gf
from glassformer.errors import BadValue, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.files.model_id import LONGEST_ID


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("mine", "team/deep", ".hidden", "a/b/too-deep"):
        folder = tmp_path / "root" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "root" / "link-out").symlink_to(outside)
    (tmp_path / "root" / "link-in").symlink_to(tmp_path / "root" / "mine")
    return tmp_path / "root"


def test_bundled_models_come_first() -> None:
    sources = Catalog().list()
    assert [source.model_id for source in sources[:2]] == ["tales", "sorter"]
    assert all(source.kind == "bundled" and source.prompts for source in sources[:2])


def test_folders_by_name(root: Path) -> None:
    catalog = Catalog([root])
    for model_id in ("mine", "team/deep", "a/b/too-deep", str(root / "mine"), "link-in"):
        source = catalog.find(model_id)
        assert source.kind == "folder"
        assert source.folder is not None
        assert source.folder.is_relative_to(root)
    assert catalog.find(str(root / "mine")).model_id == "mine"
    assert catalog.find("link-in").model_id == "mine"


def test_a_root_that_is_a_model(root: Path) -> None:
    assert Catalog([root / "mine"]).find("mine").folder == root / "mine"
    assert [s.model_id for s in Catalog([root / "mine"]).list()][2:] == ["mine"]


def test_the_list_stays_inside_and_near(root: Path) -> None:
    listed = {source.model_id for source in Catalog([root]).list() if source.kind == "folder"}
    assert listed == {"mine", "team/deep"}


@pytest.mark.parametrize(
    "name", ["my model (v2) #1", "ünï", "a%20b", "x@main", "CON", "n" * 200, "dot.", "a:b", "http:x"]
)
def test_what_is_offered_can_be_asked_for(root: Path, name: str) -> None:
    (root / "mine").rename(root / name)
    offered = [source.model_id for source in Catalog([root]).list()]
    assert (name in offered) == (":" not in name)
    if name in offered:
        assert Catalog([root]).find(name).folder == root / name


def test_checkpoints_of_a_run_are_models(root: Path) -> None:
    for step in (500, 1000):
        (root / "run" / f"checkpoint-{step}").mkdir(parents=True)
        (root / "run" / f"checkpoint-{step}" / "config.json").write_text('{"model_type": "gpt2"}')
    (root / "run" / "trainer_state.json").write_text("{}")
    offered = {source.model_id for source in Catalog([root]).list()}
    assert {"run/checkpoint-500", "run/checkpoint-1000"} <= offered
    assert Catalog([root]).find("run/checkpoint-500").folder == root / "run" / "checkpoint-500"
    with pytest.raises(UnknownModel, match="these in it are: checkpoint-1000, checkpoint-500"):
        Catalog([root]).find("run")


def test_links_that_lead_out_are_no_models(root: Path) -> None:
    with pytest.raises(UnknownModel, match="leads out of its model directory"):
        Catalog([root]).find("link-out")
    with pytest.raises(UnknownModel):
        Catalog([root]).find(str(root.parent / "outside"))


def test_nothing_is_read_without_a_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    for model_id in ("./mine", str(root / "mine"), "~/mine"):
        with pytest.raises(UnknownModel):
            Catalog().find(model_id)
    assert Catalog().find("mine").kind == "hub"


@pytest.mark.parametrize("model_id", ["gpt2", "openai-community/gpt2", "Qwen/Qwen3-0.6B", "a_b/c.d-e"])
def test_hub_ids(model_id: str) -> None:
    assert Catalog().find(model_id).kind == "hub"


@pytest.mark.parametrize(
    ("model_id", "repo", "revision"),
    [("gpt2", "gpt2", None), ("a/b@main", "a/b", "main"), ("a/b@refs/pr/1", "a/b", "refs/pr/1")],
)
def test_hub_revisions(model_id: str, repo: str, revision: str | None) -> None:
    source = Catalog().find(model_id)
    assert (source.model_id, source.repo, source.revision) == (model_id, repo, revision)


@pytest.mark.parametrize(
    "model_id",
    [
        *("", "x" * (LONGEST_ID + 1), "a\0b", "a\nb", "\ud800", "a\\b"),
        *("..", "../x", "a/../b", "file:///x", "https://x.example/y", "c:x"),
    ],
)
def test_malformed_ids(model_id: str) -> None:
    with pytest.raises(BadValue) as caught:
        Catalog().find(model_id)
    assert caught.value.field == "model_id"


@pytest.mark.parametrize(
    "model_id",
    [
        "/etc",
        "x" * 300,
        "~root",
        ".",
        "a/b/c",
        "a b",
        "-x",
        "a//b",
        "a/",
        "ünïcode",
        "a@",
        "a@-x",
        "a@x..y",
        "a@b c",
    ],
)
def test_ids_that_can_be_nothing(model_id: str) -> None:
    with pytest.raises(UnknownModel):
        Catalog().find(model_id)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["one.gguf", "two.gguf"], "holds 2 GGUF models; name one: one.gguf, two.gguf"),
        (["mmproj-model.gguf"], "holds only a part of a GGUF model, or what goes with one"),
        (["adapter_config.json", "adapter_model.safetensors"], "is an adapter that does not name its base"),
        (["events.out"], "has no config.json"),
        (["log.txt", "checkpoint-500/config.json"], "is not a model itself; these in it are: checkpoint-500"),
    ],
)
def test_a_folder_that_is_no_model_is_told_as_what_it_is(
    root: Path, files: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never asked of the hub under its name."""
    (root / "run1").mkdir()
    for name in files:
        (root / "run1" / name).parent.mkdir(exist_ok=True)
        (root / "run1" / name).write_text("{}")
    for model_id in ("run1", str(root / "run1")):
        with pytest.raises(UnknownModel, match=sentence) as caught:
            Catalog([root]).find(model_id)
        assert str(root) not in caught.value.message
    monkeypatch.chdir(root)
    for name in ("run1", "./run1", root / "run1"):
        with pytest.raises(UnknownModel, match=sentence):
            gf.load(name)
    # A folder that only holds folders may be an owner's.
    assert Catalog([root]).find("team").kind == "hub"
