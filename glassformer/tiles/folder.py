"""A store written to a folder: the very keys that the server answers, as files that any Zarr library opens.

Knows numpy only. Costs one chunk of memory at a time, and the disk space of every level.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from glassformer.errors import BadValue
from glassformer.tiles.store import ZarrStore

ROOT_KEY = "zarr.json"


def write_store(
    store: ZarrStore, path: Path, *, files: Mapping[str, bytes] | None = None, overwrite: bool = False
) -> None:
    """Write every key of `store`, and `files` beside them, as the folder `path`.

    The folder appears when it is complete: it is written under another name next to it. `overwrite` replaces a folder
    that is a Zarr group, and nothing else. Raises BadValue for a place that cannot be written.
    """
    target = Path(path).expanduser().absolute()
    check_place(target, overwrite=overwrite)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        unfinished.mkdir(parents=True)
        for key in store.list_keys():
            write_file(unfinished / key, store.get(key).body)
        for name, body in (files or {}).items():
            write_file(unfinished / name, body)
        if overwrite and target.exists():
            shutil.rmtree(target)
        unfinished.rename(target)
    except OSError as error:
        raise BadValue(
            f"The folder {target.name!r} cannot be written: {error.strerror}.", field="path"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_place(target: Path, *, overwrite: bool) -> None:
    """Raise BadValue where `target` is taken by something that must not be replaced."""
    if not target.exists():
        return
    if not overwrite:
        raise BadValue(f"{target.name!r} exists already; say overwrite to replace it.", field="path")
    if not (target / ROOT_KEY).is_file():
        raise BadValue(f"{target.name!r} is not a Zarr folder, so it is not replaced.", field="path")


def write_file(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
