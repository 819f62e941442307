"""Weights that transformers does not find by itself: in other files, or under other names. Nothing is read ahead."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open


@contextmanager
def open_tensors(weights: Collection[Path], names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The tensors of `weights`, by what `names` calls each that is stored, and read when they are indexed."""
    with ExitStack() as stack:
        found = {}
        for path in weights:
            tensors = stack.enter_context(safe_open(path, framework="pt"))
            for name in tensors.keys():  # noqa: SIM118
                found[names[name]] = tensors.get_slice(name)
        yield found
