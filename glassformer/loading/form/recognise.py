"""Which form a folder or file has: the first of all that knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from glassformer.loading.form.form import Form
from glassformer.loading.form.gguf_file import open_gguf
from glassformer.loading.form.safetensors_folder import open_safetensors_folder

Opener = Callable[[Path, Path | None], Form | None]
"""Opens a place inside a root, None for no matter where; gives None for another form and raises ModelRefused for one
of this form that must not be read."""

# The last takes whatever no other knows, and says what is missing there.
OPENERS: tuple[Opener, ...] = (open_gguf, open_safetensors_folder)


def open_form(place: Path, root: Path | None = None) -> Form:
    """The model in `place`. With `root`, links that lead out of it are refused. Raises ModelRefused."""
    for opener in OPENERS:
        found = opener(place, root)
        if found is not None:
            return found
    raise AssertionError("the last form knows every place")
