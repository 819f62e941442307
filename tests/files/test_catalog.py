"""Which ids are models, and which never are."""

from pathlib import Path

import pytest

import glassformer as gf
from glassformer.errors import BadValue, UnknownModel
from glassformer.files.catalog import LONGEST_ID, Catalog


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


def test_links_that_lead_out_are_no_models(root: Path) -> None:
    source = Catalog([root]).find("link-out")
    assert source.kind == "hub"  # not the folder, at least
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
    ["/etc", "~root", ".", "a/b/c", "a b", "-x", "a//b", "a/", "ünïcode", "a@", "a@-x", "a@x..y", "a@b c"],
)
def test_ids_that_can_be_nothing(model_id: str) -> None:
    with pytest.raises(UnknownModel):
        Catalog().find(model_id)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["model.Q4_1.gguf"], "holds a GGUF file"),
        (["adapter_config.json", "adapter_model.safetensors"], "holds an adapter for another model"),
        (["events.out"], "has no config.json"),
    ],
)
def test_a_folder_that_is_no_model_is_told_as_what_it_is(
    root: Path, files: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never asked of the hub under its name."""
    (root / "run1").mkdir()
    for name in files:
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
