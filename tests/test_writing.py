"""Writes that fail half-way, for want of room or of rights, leave what was there before, byte by byte."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny import make_models

from glassformer.tiles.store_folder import write_store
from glassformer.tiles.zarr_store import ArrayView, ZarrStore
from glassformer.writing import replacing_file, replacing_folder

NOBODY = 65534
PROMPT = "the quick brown fox"


def read_all(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run_where_files_stay_small(code: str, *, largest_bytes: int) -> subprocess.CompletedProcess[str]:
    """Python whose files cannot grow past `largest_bytes`: the system fails the write, as a full disk does."""
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({largest_bytes},) * 2)\n"
    command = [sys.executable, "-c", limit + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.safetensors", "x.zarr"])
def test_a_trace_that_finds_no_room_keeps_the_file(name: str, model_dir: Path, tmp_path: Path) -> None:
    arguments = ["trace", "llama", PROMPT, "--model-dir", str(model_dir), "--device", "cpu"]
    out = tmp_path / name
    if name == "x.zarr":
        views = {
            "z.0": ArrayView((2, 2), ("row", "column"), lambda region: np.ones((2, 2), np.float32)[region])
        }
        write_store(ZarrStore(views, {}, growing=False), out)
    else:
        out.write_bytes(b"what was here before")
    before = read_all(tmp_path)
    code = (
        f"from glassformer.cli import app\napp({[*arguments, '--site', 'mlp_act.0', '--out', str(out)]!r})\n"
    )
    if name == "x.zarr":
        code = (
            "import glassformer as gf\nfrom glassformer.errors import BadValue\n"
            f"t = gf.load({str(model_dir / 'llama')!r}, device='cpu').trace({PROMPT!r})\n"
            f"try:\n    t.save({str(out)!r}, overwrite=True)\n"
            "except BadValue as error:\n    raise SystemExit(f'glassformer: {error.message}')\n"
        )
    done = run_where_files_stay_small(code, largest_bytes=400)
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith("cannot be written: File too large."), done.stderr
    assert read_all(tmp_path) == before


def test_a_checkpoint_that_finds_no_room_keeps_the_last(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint.pt"
    target.write_bytes(b"the last whole checkpoint")
    done = run_where_files_stay_small(
        "from pathlib import Path\nimport torch\nfrom glassformer.training import loop\n"
        "model = torch.nn.Linear(64, 64)\ndone = loop.Progression()\n"
        f"try:\n    loop.save(Path({str(target)!r}), model, [], done, seed=0)\n"
        "except OSError as error:\n    raise SystemExit(f'OSError: {error}')\n",
        largest_bytes=2000,
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1], done.stderr
    assert read_all(tmp_path) == {"checkpoint.pt": b"the last whole checkpoint"}


@pytest.fixture
def place_of_a_user() -> Iterator[Path]:
    """A folder of somebody whom rights can stop; whoever runs the tests may be root."""
    folder = Path(tempfile.mkdtemp(prefix="glassformer-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def test_an_old_folder_that_cannot_be_removed_costs_nothing(place_of_a_user: Path) -> None:
    target = place_of_a_user / "x.zarr"
    views = {"z.0": ArrayView((2, 2), ("row", "column"), lambda region: np.ones((2, 2), np.float32)[region])}
    store = ZarrStore(views, {}, growing=False)
    write_store(store, target, files={"old.txt": b"old"})
    (target / "z.0").chmod(0o500)
    write_store(store, target, files={"new.txt": b"new"}, overwrite=True)
    assert set(read_all(target)) == {*store.list_keys(), "new.txt"}


def test_a_file_that_may_not_be_replaced_is_kept(place_of_a_user: Path) -> None:
    target = place_of_a_user / "x.npy"
    target.write_bytes(b"old")
    place_of_a_user.chmod(0o500)
    with pytest.raises(PermissionError), replacing_file(target) as file:
        file.write_bytes(b"new")
    assert target.read_bytes() == b"old"


def test_whatever_goes_wrong_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("years of work")
    with contextlib.suppress(KeyboardInterrupt), replacing_folder(tmp_path / "kept") as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    with contextlib.suppress(RuntimeError), replacing_file(tmp_path / "kept" / "thesis.tex") as file:
        file.write_text("half")
        raise RuntimeError
    assert read_all(tmp_path) == {"kept/thesis.tex": b"years of work"}


def test_links_and_rights_stay(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o640)
    (tmp_path / "x.csv").symlink_to("real.csv")
    with replacing_file(tmp_path / "x.csv") as file:
        assert file.suffix == ".csv"
        file.write_text("new")
    assert (tmp_path / "x.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replacing_folder(tmp_path / "link") as folder:
        (folder / "new").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert read_all(tmp_path) == {"real/new": b"new"}


def test_a_device_is_written_to_directly(tmp_path: Path) -> None:
    (tmp_path / "x.npy").symlink_to("/dev/null")
    with replacing_file(tmp_path / "x.npy") as file:
        file.write_bytes(b"gone")
    assert Path("/dev/null").is_char_device()
