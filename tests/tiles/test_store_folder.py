"""Stores written to a folder: the same bytes as the keys, and what must not be overwritten is not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from glassformer.errors import BadValue
from glassformer.tiles.store_folder import Place, write_store
from glassformer.tiles.zarr_store import ArrayView, ZarrStore

CELLS = np.random.default_rng(0).normal(size=(3, 130, 70)).astype(np.float32)


@pytest.fixture
def store() -> ZarrStore:
    views = {"z.0": ArrayView(CELLS.shape, ("head", "pos", "d_head"), lambda region: CELLS[region])}
    return ZarrStore(views, {"model_id": "m"}, growing=False)


def test_a_folder_holds_the_very_keys(store: ZarrStore, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.zarr"
    write_store(store, target, files={"anatomy.json": b"{}"})
    written = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert written == {*store.list_keys(), "anatomy.json"}
    assert all((target / key).read_bytes() == store.get(key).body for key in store.list_keys())
    group = zarr.open_group(target, mode="r")
    np.testing.assert_array_equal(group["z.0/0"][:], CELLS)
    assert [path.name for path in target.parent.iterdir()] == ["x.zarr"]


def test_what_is_there_is_kept_unless_told(store: ZarrStore, tmp_path: Path) -> None:
    target = tmp_path / "x.zarr"
    write_store(store, target)
    with pytest.raises(BadValue, match="exists already"):
        write_store(store, target)
    write_store(store, target, files={"note.txt": b"new"}, overwrite=True)
    assert (target / "note.txt").read_bytes() == b"new"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(BadValue, match="not a Zarr folder"):
        write_store(store, precious, overwrite=True)
    assert (precious / "thesis.tex").exists()


def test_a_place_that_cannot_be_written(store: ZarrStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadValue, match="cannot be written"):
        write_store(store, tmp_path / "file" / "x.zarr")


def test_a_link_is_not_replaced(store: ZarrStore, tmp_path: Path) -> None:
    write_store(store, tmp_path / "real.zarr")
    (tmp_path / "x.zarr").symlink_to(tmp_path / "real.zarr", target_is_directory=True)
    with pytest.raises(BadValue, match="is a link"):
        write_store(store, tmp_path / "x.zarr", overwrite=True)
    assert (tmp_path / "real.zarr" / "zarr.json").is_file()


def test_faults_of_the_system_are_told_without_paths(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "gone.js").symlink_to(tmp_path / "nothing")
    with (
        pytest.raises(BadValue, match="not every file could be copied") as raised,
        Place(tmp_path / "out", kind="a copy", mark="mark").filling() as folder,
    ):
        shutil.copytree(tmp_path / "page", folder, dirs_exist_ok=True)
    assert str(tmp_path) not in raised.value.message
    assert "None" not in raised.value.message
    assert not (tmp_path / "out").exists()


def test_a_store_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def read(region: object) -> np.ndarray:
        raise RuntimeError("the model is gone")

    broken = ZarrStore({"a": ArrayView((2, 2), ("row", "column"), read)}, {}, growing=False)
    with pytest.raises(RuntimeError, match="gone"):
        write_store(broken, tmp_path / "x.zarr")
    assert list(tmp_path.iterdir()) == []
