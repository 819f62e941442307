"""What was found out about a place holds for as long as the place stays as it was, however quickly it changes."""

import json
import os
from pathlib import Path

import pytest
from tiny import make_model

from glassformer.files.catalog import Catalog
from glassformer.files.state import MOST_KEPT, Kept, read_state
from glassformer.files.stock import take_stock
from glassformer.importing import import_torch
from glassformer.registry.registry import Registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path.resolve() / "mine", "llama")


def write_at_once(path: Path, text: str) -> None:
    """Write to a file such that neither its own time of change nor its folder's tells of it."""
    times = [(place, place.stat()) for place in (path, path.parent)]
    path.write_text(text)
    for place, found in times:
        os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))


def replace_at_once(path: Path, text: str) -> None:
    """Put another file of the same size and time of change in the place of one."""
    found, parent = path.stat(), path.parent.stat()
    other = path.with_suffix(".other")
    other.write_text(text.ljust(found.st_size))
    other.replace(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.utime(path.parent, ns=(parent.st_atime_ns, parent.st_mtime_ns))


@pytest.mark.parametrize("change", [write_at_once, replace_at_once])
def test_a_config_that_changes_is_read_again(folder: Path, change: object) -> None:
    assert take_stock(folder).family == "llama"
    change(folder / "config.json", json.dumps({"model_type": "gpt2"}))  # type: ignore[operator]
    assert take_stock(folder).family == "gpt2"


def test_a_weight_file_that_grows_is_measured_again(folder: Path) -> None:
    before = take_stock(folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"12345")
    assert (take_stock(folder).stored_bytes or 0) - (before.stored_bytes or 0) == 5


def test_a_server_tells_of_a_folder_as_it_is_now(folder: Path) -> None:
    import_torch()
    registry = Registry(Catalog([folder.parent], offline=True), device="cpu")
    assert registry.summary("mine").opens
    written = (folder / "config.json").read_text()
    for _ in range(2):
        write_at_once(folder / "config.json", written.replace("{", '{"kernel_config": 1,', 1))
        told = registry.summary("mine")
        assert told.opens is False
        assert "kernel_config" in told.reason
        write_at_once(folder / "config.json", written)
        assert registry.summary("mine").opens


def test_a_part_of_a_file_in_parts_counts(tmp_path: Path) -> None:
    first, second = (tmp_path / f"x-0000{at}-of-00002.gguf" for at in (1, 2))
    first.write_bytes(b"GGUF")
    second.write_bytes(b"GGUF")
    before = read_state(first)
    second.write_bytes(b"GGUF and more")
    assert read_state(first) != before
    assert read_state(tmp_path / "nothing") is None


def test_links_are_what_they_lead_to(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("same")
    folder = tmp_path / "folder"
    folder.mkdir()
    states = []
    for target in ("a", "b", "nowhere"):
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(tmp_path / target)
        states.append(read_state(folder))
    assert len(set(states)) == 3
    assert None not in states


def test_the_latest_are_kept() -> None:
    kept: Kept[int] = Kept()
    for number in range(MOST_KEPT + 1):
        kept.keep(number, "as it was", number)
    assert kept.find(0, "as it was") is None
    assert kept.find(1, "as it was") == 1
    assert kept.find(1, "another") is None
