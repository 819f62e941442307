"""Which GGUF models lie in a folder, by names alone: one in each file, but for parts of one and what goes with one."""

from __future__ import annotations

from pathlib import Path

from glassformer.files import hub_cache
from glassformer.files.gguf import PART

SUFFIX = ".gguf"
# What a multimodal model sees and hears with, beside its language model.
BESIDE = ("mmproj",)


def is_gguf(place: Path) -> bool:
    """Whether a place is a file that calls itself GGUF."""
    return place.suffix.lower() == SUFFIX and place.is_file()


def find_ggufs(folder: Path) -> list[Path]:
    """The models in a folder itself, by name; of one in several parts its first."""
    try:
        files = sorted(path for path in folder.iterdir() if is_gguf(path))
    except OSError:
        return []
    return [path for path in files if not is_part(path) and not path.name.lower().startswith(BESIDE)]


def is_part(path: Path) -> bool:
    """Whether a file is a part of a model after its first, which is there."""
    found = PART.fullmatch(path.name)
    if found is None or int(found["number"]) == 1:
        return False
    return path.with_name(f"{found['stem']}-00001-of-{found['count']}{path.suffix}").is_file()


def find_only(folder: Path) -> Path | None:
    """The one GGUF model that a folder stands for: it holds no other, and no other weights."""
    found = find_ggufs(folder)
    return found[0] if len(found) == 1 and not any(folder.glob("*.safetensors")) else None


def lies_inside(place: Path, root: Path) -> bool:
    """Whether a file is inside `root`, where a link of a hub cache leads to its own blobs."""
    blobs = hub_cache.find_blobs(place.parent)
    real = place.resolve()
    return real.is_relative_to(root) or (blobs is not None and real.is_relative_to(blobs))
