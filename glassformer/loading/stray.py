"""Adapter files beside the weights of a whole model, as merging leaves them: they are not part of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glassformer.files.adapter import CONFIG

NOTE = "Adapter files lie beside its whole weights and were left aside: what is loaded is the merged model."


def has_stray(folder: Path) -> bool:
    """Whether a whole model's folder also holds an adapter's config."""
    return (folder / CONFIG).is_file()


@contextmanager
def without_stray(folder: Path) -> Iterator[Path]:
    """`folder`, or one that links to all of it but the adapter's files: transformers would add the adapter once more.

    It does where the library peft is installed.
    """
    if not has_stray(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="glassformer-") as place:
        for path in folder.iterdir():
            if not path.name.startswith("adapter_"):
                (Path(place) / path.name).symlink_to(path.resolve())
        yield Path(place)
