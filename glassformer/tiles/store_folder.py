"""A store written to a folder: the very keys that the server answers, as files that any Zarr library opens.

Knows numpy only. Costs one chunk of memory at a time, and the disk space of every level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from glassformer.errors import BadValue
from glassformer.tiles.zarr_store import ZarrStore
from glassformer.writing import replacing_folder

ROOT_KEY = "zarr.json"
# Of every file below, as `sha256sum` writes and checks them.
SUMS = "sha256sums.txt"


def write_store(
    store: ZarrStore,
    path: Path,
    *,
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
    with_sums: bool = False,
) -> None:
    """Write every key of `store`, and `files` beside them, as the folder `path`; checksums of all in `SUMS`, if wanted.

    The folder appears when it is complete: it is written under another name next to it. `overwrite` replaces a folder
    that is a Zarr group, and nothing else. Raises BadValue for a place that cannot be written.
    """
    with Place(Path(path), kind="a Zarr folder", mark=ROOT_KEY, overwrite=overwrite).filling() as folder:
        sums = []
        stored = ((key, store.get(key).body) for key in store.list_keys())
        for name, body in chain(stored, (files or {}).items()):
            write_file(folder / name, body)
            sums.append(f"{hashlib.sha256(body).hexdigest()}  {name}\n")
        if with_sums:
            write_file(folder / SUMS, "".join(sums).encode())


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that will be written, all of it or nothing.

    With `overwrite` it replaces one of its own `kind`, known by the file `mark`, and nothing else. `field` is what is
    blamed for a place that cannot be written.
    """

    path: Path
    kind: str
    mark: str
    overwrite: bool = False
    field: str = "path"

    @property
    def target(self) -> Path:
        return self.path.expanduser().absolute()

    def check(self) -> None:
        """Raise BadValue where the place is taken by something that must not be replaced."""
        target = self.target
        if target.is_symlink():
            raise BadValue(f"{target.name!r} is a link; name the folder it leads to.", field=self.field)
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return
        if not (target / self.mark).is_file():
            raise BadValue(
                f"{target.name!r} exists and is not {self.kind}, so it is not replaced.", field=self.field
            )
        if not self.overwrite:
            raise BadValue(f"{target.name!r} exists already; say overwrite to replace it.", field=self.field)

    @contextmanager
    def filling(self) -> Iterator[Path]:
        """An empty folder beside the place, which takes it at the end. Raises BadValue; then all is as it was."""
        self.check()
        target = self.target
        try:
            with replacing_folder(target) as folder:
                yield folder
        except OSError as error:
            raise BadValue(
                f"The folder {target.name!r} cannot be written: {describe_fault(error)}.", field=self.field
            ) from error


def describe_fault(error: OSError) -> str:
    """What the system said, without paths; several faults at once have no words of their own."""
    return error.strerror or "not every file could be copied"


def read_sums(folder: Path) -> dict[str, str]:
    """The checksum of each file of a folder, by its name there; nothing for one that was written without."""
    if not (folder / SUMS).is_file():
        return {}
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def write_file(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
