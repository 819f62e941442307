"""What lies on a disk of a model, without torch: in which form, how large, and which family its files name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.errors import GlassformerError
from glassformer.files.adapter import WEIGHTS, is_adapter
from glassformer.files.gguf import read_gguf
from glassformer.files.gguf_place import is_gguf
from glassformer.files.ollama import is_manifest, read_manifest
from glassformer.files.safety import read_json_object
from glassformer.files.state import Kept, read_state

if TYPE_CHECKING:
    from glassformer.files.catalog import ModelSource


@dataclass(frozen=True, slots=True)
class Stock:
    """The form of a model, its weights' bytes on the disk, and its family; None where its files do not say."""

    form: str | None = None
    stored_bytes: int | None = None
    family: str | None = None


_kept: Kept[Stock] = Kept()


def take_stock(place: Path) -> Stock:
    """What lies in a folder or file. Reads a few kilobytes, of a GGUF its header, once for as long as it stays so."""
    state = read_state(place)
    if state is None:
        return Stock()
    found = _kept.find(place, state)
    if found is None:
        found = _look(place)
        _kept.keep(place, state, found)
    return found


def take_stock_of(source: ModelSource, place: Path | None) -> Stock:
    """What lies here of a source whose files are in `place`: of an adapter its own, and its base's family there."""
    own = source.folder or place
    stock = Stock() if own is None else take_stock(own)
    if source.base is None or place is None:
        return stock
    return dataclasses.replace(stock, family=take_stock(place).family)


def _look(place: Path) -> Stock:
    try:
        if is_manifest(place) or is_gguf(place):
            header = read_gguf(read_manifest(place).weights if is_manifest(place) else place)
            return Stock(f"GGUF {header.main_type}", header.stored_bytes, header.architecture)
        if is_adapter(place):
            weights = place / WEIGHTS
            return Stock("adapter", weights.stat().st_size if weights.is_file() else None)
        family = read_json_object(place / "config.json", "config.json").get("model_type")
        sizes = {
            form: sum(path.stat().st_size for path in place.glob(pattern))
            for form, pattern in (("safetensors", "*.safetensors"), ("pickled", "*.bin"))
        }
        form = next((form for form, size in sizes.items() if size), None)
        return Stock(form, sizes[form] if form else None, family if isinstance(family, str) else None)
    except (GlassformerError, OSError):
        return Stock("GGUF" if place.is_file() else None)
