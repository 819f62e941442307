"""A recording that was saved or exported, opened again: no model, no torch, the cells straight from its files.

The folder is one that `Trace.save` wrote (`x.zarr`, with the anatomy inside), or one that `glassformer export` wrote.
It is checked when it is opened, every file of cells by its length, so that a torn copy is an error and not numbers; and
where it was saved with checksums, by these: what it says of itself at once, a site's cells when they are first read.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from pydantic import BaseModel, ValidationError

from glassformer.errors import BadValue, UnknownAddress
from glassformer.protocol.anatomy import Anatomy, Site, list_sites
from glassformer.protocol.messages import Intervention
from glassformer.protocol.reading import Reading
from glassformer.tiles.level import Array, Region
from glassformer.tiles.store_folder import read_sums

if TYPE_CHECKING:
    from glassformer.run.run import Run

ANATOMY = "anatomy.json"
READING = "reading/message"
# Where an export keeps its recording.
EXPORTED = Path("data") / "recording.zarr"
CELL_BYTES = np.dtype(np.float32).itemsize


class RecordingAttributes(BaseModel):
    """What the root of a recording's store says."""

    model_id: str
    token_ids: list[int]
    tokens: list[str]
    prompt_count: int
    positions: int | None = None
    interventions: list[Intervention] = []
    text: str | None = None


def open_folder(folder: Path) -> FolderSource:
    """The recording in `folder`. Raises BadValue for a folder that is not a recording or is damaged."""
    return FolderSource(find_store(folder.expanduser()))


def find_store(folder: Path) -> Path:
    found = folder / EXPORTED if (folder / EXPORTED).is_dir() else folder
    if not (found / "zarr.json").is_file():
        raise BadValue(f"{folder.name!r} is not a folder with a recording.", field="path")
    return found


class FolderSource:
    """A recording in a folder."""

    live: Run | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sums = read_sums(folder)
        self._verified: set[str] = set()
        self._group = self._open_group()
        self.anatomy = self._read_anatomy()
        attributes = self._read_attributes()
        self.token_ids = attributes.token_ids
        self.tokens = attributes.tokens
        self.positions = attributes.positions or len(attributes.token_ids)
        self.prompt_count = attributes.prompt_count
        self.text = "".join(attributes.tokens) if attributes.text is None else attributes.text
        self.interventions = tuple(attributes.interventions)
        self._sites = list_sites(self.anatomy)
        self._arrays = {address: self._open_array(site) for address, site in self._sites.items()}
        if not any(self._arrays.values()):
            raise self._damaged("it holds no site")
        for name in self._sums:
            if name.count("/") < 2:
                self._verify_file(name)

    def require_site(self, address: str) -> Site:
        site = self._sites.get(address)
        if site is None:
            raise UnknownAddress(address)
        if site.check.status == "refused":
            raise UnknownAddress(address, f"{address} is refused: {site.check.reason}.")
        if self._arrays[address] is None:
            raise UnknownAddress(address, f"{address} was not saved in this folder.")
        return site

    def shape(self, site: Site) -> tuple[int, ...]:
        array = self._arrays[site.address]
        return () if array is None else tuple(array.shape)

    def read(self, address: str, region: Region) -> Array:
        self.require_site(address)
        array = self._arrays[address]
        assert array is not None
        self._verify(address)
        cells: Array = np.asarray(array[region], dtype=np.float32)
        return cells

    def find_reading(self) -> Reading | None:
        message = self._group.get(READING)
        if message is None:
            return None
        try:
            return Reading.model_validate_json(np.asarray(message[:], dtype=np.uint8).tobytes())
        except ValueError as error:
            raise self._damaged("its reading cannot be read") from error

    def _verify(self, address: str) -> None:
        """Hold the cells of a site to their checksums, once. Raises BadValue."""
        if address in self._verified:
            return
        for name in self._sums:
            if name.startswith(f"{address}/0/"):
                self._verify_file(name)
        self._verified.add(address)

    def _verify_file(self, name: str) -> None:
        file = self._folder / name
        # Whether it is there and long enough is told where it is needed.
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != self._sums[name]:
            raise self._damaged(f"{name} is not as it was written")

    # --- opening -----------------------------------------------------------------------------------

    def _damaged(self, reason: str) -> BadValue:
        return BadValue(f"The recording in {self._folder.name!r} is damaged: {reason}.", field="path")

    def _open_group(self) -> Any:
        try:
            return zarr.open_group(self._folder, mode="r", zarr_format=3)
        except Exception as error:  # zarr's own errors have no common base
            raise self._damaged("zarr.json cannot be read") from error

    def _read_attributes(self) -> RecordingAttributes:
        try:
            found = RecordingAttributes.model_validate(dict(self._group.attrs))
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise self._damaged(f"its attributes lack a {where} that makes sense") from error
        positions = len(found.token_ids) if found.positions is None else found.positions
        if not 0 < found.prompt_count <= positions <= len(found.token_ids) == len(found.tokens):
            raise self._damaged("its tokens do not fit together")
        return found

    def _read_anatomy(self) -> Anatomy:
        inside, beside = self._folder / ANATOMY, self._folder.parent / ANATOMY
        file = inside if inside.is_file() else beside
        try:
            return Anatomy.model_validate(json.loads(file.read_bytes()))
        except (OSError, ValueError) as error:
            raise self._damaged(f"{ANATOMY} cannot be read") from error

    def _open_array(self, site: Site) -> Any:
        """Level 0 of a site, whole; None where it was not saved."""
        name = f"{site.address}/0"
        try:
            array = self._group.get(name)
        except Exception as error:  # as above
            raise self._damaged(f"{name} cannot be read") from error
        if array is None:
            return None
        expected = tuple(self.positions if size is None else size for size in site.shape)
        if not isinstance(array, zarr.Array) or array.shape != expected or array.dtype != np.float32:
            raise self._damaged(f"{name} does not have the shape {list(expected)}")
        chunk_bytes = math.prod(array.chunks) * CELL_BYTES
        grid = [-(-size // side) for size, side in zip(array.shape, array.chunks, strict=True)]
        for place in np.ndindex(*grid):
            file = self._folder.joinpath(site.address, "0", "c", *map(str, place))
            if not file.is_file() or file.stat().st_size != chunk_bytes:
                raise self._damaged(f"{file.relative_to(self._folder).as_posix()} is missing or cut off")
        return array
