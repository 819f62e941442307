"""A hub cache, as the hub's own library lays it out, is a directory of models under their names of the hub."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny import make_model
from typer.testing import CliRunner

import glassformer as gf
from glassformer.cli import app
from glassformer.errors import GlassformerError, ModelRefused, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.loading.loaded import LoadedModel
from glassformer.registry.registry import Registry
from tests.gguf_files import make_causal, write_gguf

REPO = "models--a--tiny"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("original") / "hub" / "plain", "llama")


@pytest.fixture
def cache(original: Path, tmp_path: Path) -> Path:
    """Two commits of one repository, and another of which only the config was looked at."""
    cache = tmp_path / "hub"
    for commit in ("0ld", "abc"):
        add_snapshot(cache / REPO, commit, original)
    (cache / REPO / "refs").mkdir()
    (cache / REPO / "refs" / "main").write_text("abc")
    looked_at = cache / "models--b--looked-at" / "snapshots" / "1"
    looked_at.mkdir(parents=True)
    shutil.copy(original / "config.json", looked_at)
    (cache / ".locks" / REPO).mkdir(parents=True)
    return cache


def add_snapshot(repo_folder: Path, commit: str, original: Path) -> None:
    blobs, snapshot = repo_folder / "blobs", repo_folder / "snapshots" / commit
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    for path in original.iterdir():
        blob = blobs / f"{commit}-{path.stem}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)


def offered(root: Path) -> set[str]:
    return {source.model_id for source in Catalog([root], offline=True).list() if source.kind == "folder"}


def load(root: Path, model_id: str) -> LoadedModel:
    return Registry(Catalog([root], offline=True), device="cpu").load(model_id).result(60)


def logits(loaded: LoadedModel) -> torch.Tensor:
    return loaded.model(torch.tensor([[5, 6, 7]])).logits


@pytest.mark.parametrize("place", ["", REPO, f"{REPO}/snapshots", f"{REPO}/snapshots/abc"])
@pytest.mark.parametrize("has_refs", [True, False])
def test_any_part_of_a_cache_is_a_root(cache: Path, original: Path, place: str, has_refs: bool) -> None:
    if not has_refs:
        shutil.rmtree(cache / REPO / "refs")
    root = cache / place
    assert offered(root) == {"a/tiny"}
    loaded = load(root, "a/tiny")
    assert torch.equal(logits(loaded), logits(load(original.parent, "plain")))
    for other in ("a/tiny@abc", "a/tiny@main"):
        if other.endswith("@abc") or has_refs:
            folder = Catalog([root], offline=True).find(other).folder
            assert folder is not None
            assert folder.name == "abc"


def test_what_holds_a_cache_is_a_root_too(cache: Path) -> None:
    """As the folder that the library keeps its cache, tokens and more in."""
    assert offered(cache.parent) == {"a/tiny"}
    assert load(cache.parent, "a/tiny").parameters > 0


def test_another_commit_has_its_own_name(cache: Path) -> None:
    source = Catalog([cache], offline=True).find("a/tiny@0ld")
    assert (source.model_id, source.kind) == ("a/tiny@0ld", "folder")
    named = Catalog([cache], offline=True).find(str(cache / REPO / "snapshots" / "0ld"))
    assert named.model_id == "a/tiny@0ld"


def test_gguf_files_in_a_cache(tmp_path: Path) -> None:
    """One stands for its repository, of several each has a name after it; both are links to blobs of other names."""
    made = write_gguf(tmp_path / "tiny.gguf", make_causal("llama"))
    cache = tmp_path / "hub"
    files = {"models--a--one-GGUF": ["x.Q4.gguf"], "models--a--two-GGUF": ["x.Q4.gguf", "x.Q8.gguf"]}
    for repo, names in files.items():
        snapshot, blobs = cache / repo / "snapshots" / "abc", cache / repo / "blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        for name in names:
            shutil.copy(made, blobs / name.replace(".", ""))
            (snapshot / name).symlink_to(Path("../../blobs") / name.replace(".", ""))
    two = {"a/two-GGUF/x.Q4.gguf", "a/two-GGUF/x.Q8.gguf"}
    assert offered(cache) == {"a/one-GGUF", *two}
    assert offered(cache / "models--a--two-GGUF" / "snapshots") == two
    for model_id in ("a/one-GGUF", "a/two-GGUF/x.Q8.gguf"):
        assert load(cache, model_id).config.model_type == "llama"
    # The library's own cache is no root, and what is in it is found all the same.
    own = Catalog(offline=True, hub_cache=cache, lists_hub=True)
    assert {"a/one-GGUF", *two} <= {source.model_id for source in own.list()}
    registry = Registry(own, device="cpu")
    for model_id in ("a/one-GGUF", "a/two-GGUF/x.Q4.gguf"):
        assert registry.load(model_id).result(60).config.model_type == "llama"
    with pytest.raises(UnknownModel, match=r"name one: x\.Q4\.gguf, x\.Q8\.gguf"):
        Catalog([cache], offline=True).find("a/two-GGUF")


@pytest.mark.parametrize("place", [REPO, f"{REPO}/snapshots", f"{REPO}/snapshots/abc"])
def test_the_handle_and_the_doctor_take_its_folders(cache: Path, place: str) -> None:
    assert gf.load(cache / place).model_id.startswith("a/tiny")  # a second one of a session has a number
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", str(cache / place), "--device", "cpu"])
    assert told.exit_code == 0
    assert "a/tiny" in told.stdout


def test_a_root_may_be_a_link(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(cache)
    assert offered(tmp_path / "link") == {"a/tiny"}
    assert load(tmp_path / "link", "a/tiny").parameters > 0


def test_a_folder_that_is_linked_into_a_root_is_told(cache: Path, original: Path) -> None:
    (cache / "elsewhere").symlink_to(original)
    with pytest.raises(
        UnknownModel, match="a link that leads out of its model directory; name the directory"
    ) as told:
        Catalog([cache], offline=True).find("elsewhere")
    assert str(original) not in told.value.message
    (cache / "beside").symlink_to(cache / REPO / "snapshots" / "abc")
    assert Catalog([cache], offline=True).find("beside").model_id == "a/tiny"


def link(place: Path, target: Path) -> None:
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "tokenizer.json", "vocab.txt", "tokenizer.model", "chat_template.jinja"),
        "additional_chat_templates/rag.jinja",
    ],
)
@pytest.mark.parametrize("is_cached", [True, False])
def test_no_file_is_read_from_elsewhere(
    cache: Path, original: Path, tmp_path: Path, name: str, is_cached: bool
) -> None:
    """Not from outside a root, and not from another repository's blobs either, if the root is only this one."""
    outside = tmp_path / "outside"
    outside.write_text("SECRET")
    root = cache / REPO / "snapshots" if is_cached else tmp_path / "root"
    folder = root / "abc"
    if not is_cached:
        shutil.copytree(original, folder)
    link(folder / name, outside)
    with pytest.raises(ModelRefused, match="a file outside its model directory: "):
        load(root, "a/tiny" if is_cached else "abc")


def test_a_folder_of_templates_elsewhere_is_refused(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "root" / "tiny")
    (tmp_path / "templates").mkdir()
    (tmp_path / "root" / "tiny" / "additional_chat_templates").symlink_to(tmp_path / "templates")
    with pytest.raises(ModelRefused, match="'additional_chat_templates'"):
        load(tmp_path / "root", "tiny")


def test_what_is_never_read_may_lie_anywhere(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "root" / "tiny")
    (tmp_path / "runs").mkdir()
    (tmp_path / "root" / "tiny" / "runs").symlink_to(tmp_path / "runs")
    assert load(tmp_path / "root", "tiny").parameters > 0
    (tmp_path / "root" / "tiny" / "circle.json").symlink_to("circle.json")
    with pytest.raises(ModelRefused, match=r"'circle\.json'"):
        load(tmp_path / "root", "tiny")


def test_blobs_that_are_a_link_are_no_excuse(cache: Path, tmp_path: Path) -> None:
    (cache / REPO / "blobs").rename(tmp_path / "blobs")
    (cache / REPO / "blobs").symlink_to(tmp_path / "blobs")
    with pytest.raises(GlassformerError, match="outside its model directory"):
        load(cache / REPO / "snapshots", "a/tiny")


@pytest.mark.parametrize("told", ["../abc", "..", "", "/", "x" * 300, "\0"])
def test_a_ref_that_is_no_commit_is_not_followed(cache: Path, told: str) -> None:
    (cache / REPO / "refs" / "main").write_text(told)
    (cache / REPO / "abc").symlink_to(cache / REPO / "snapshots" / "0ld")
    source = Catalog([cache], offline=True).find("a/tiny")
    assert source.folder == cache / REPO / "snapshots" / "abc"  # the newest
