"""Files that Git LFS has not fetched: a few lines that stand for the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glassformer.errors import ModelRefused

BEGINNING = b"version https://git-lfs.github.com/spec/"
# Git LFS' own bound (docs/spec.md).
LARGEST_BYTES = 1024


def is_pointer(path: Path) -> bool:
    try:
        if path.stat().st_size >= LARGEST_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raise ModelRefused where one of the files is none yet."""
    found = next((path for path in paths if path.is_file() and is_pointer(path)), None)
    if found is not None:
        raise ModelRefused(
            f"The model's {found.name} is a Git LFS pointer and not the file itself, which 'git lfs pull' fetches."
        )
