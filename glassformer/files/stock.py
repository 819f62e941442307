"""What lies on a disk of a model, without torch: in which form, how large, and which family its files name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassformer.errors import GlassformerError
from glassformer.files.adapter import WEIGHTS, is_adapter
from glassformer.files.gguf import read_gguf
from glassformer.files.gguf_place import is_gguf
from glassformer.files.ollama import is_manifest, read_manifest
from glassformer.files.safety import read_json_object

# Descriptions of places that were looked at, while the files there are as they were then.
_known: dict[Path, tuple[int, Stock]] = {}
MOST_KNOWN = 1000


@dataclass(frozen=True, slots=True)
class Stock:
    """The form of a model, its weights' bytes on the disk, and its family; None where its files do not say."""

    form: str | None = None
    stored_bytes: int | None = None
    family: str | None = None


def take_stock(place: Path) -> Stock:
    """What lies in a folder or file. Reads a few kilobytes, of a GGUF its header, once for as long as it stays so."""
    try:
        changed_ns = place.stat().st_mtime_ns
    except OSError:
        return Stock()
    known = _known.get(place)
    if known is not None and known[0] == changed_ns:
        return known[1]
    found = _look(place)
    while len(_known) >= MOST_KNOWN:
        _known.pop(next(iter(_known)), None)
    _known[place] = (changed_ns, found)
    return found


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
