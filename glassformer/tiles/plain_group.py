"""A small group of a store: a few arrays of one chunk each, as they are, without levels. Knows numpy only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassformer.tiles.metadata import group_text, plain_array_text


@dataclass(frozen=True, slots=True)
class PlainArray:
    """Cells (float64, float32, int32 or uint8) with a name for each axis; a missing number is NaN or -1."""

    cells: NDArray[Any]
    axes: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its metadata document."""
        return plain_array_text(
            self.cells.shape, self.cells.dtype.name, self.axes, json.dumps(dict(self.attributes))
        )

    @property
    def chunk_key(self) -> str:
        return "/".join(["c", *("0" for _ in self.cells.shape)])

    @property
    def chunk(self) -> bytes:
        return np.ascontiguousarray(self.cells, dtype=self.cells.dtype.newbyteorder("<")).tobytes()


@dataclass(frozen=True, slots=True)
class PlainGroup:
    """Arrays by name, and what is to be said of all of them."""

    arrays: Mapping[str, PlainArray]
    attributes: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        return sum(array.cells.nbytes for array in self.arrays.values())

    @property
    def members(self) -> dict[str, str]:
        """The metadata documents of its arrays, by name."""
        return {name: array.text for name, array in self.arrays.items()}

    @property
    def text(self) -> str:
        """Its own metadata document, without those of its arrays."""
        return group_text(self.attributes)

    def list_keys(self) -> Iterator[str]:
        """Every key inside the group that has bytes."""
        yield "zarr.json"
        for name, array in self.arrays.items():
            yield f"{name}/zarr.json"
            if array.cells.size:
                yield f"{name}/{array.chunk_key}"

    def find(self, key: str) -> bytes | None:
        """The bytes of a key inside the group; None for one that is not there."""
        if key == "zarr.json":
            return group_text(self.attributes, self.members).encode()
        name, _, rest = key.partition("/")
        array = self.arrays.get(name)
        if array is None:
            return None
        if rest == "zarr.json":
            return array.text.encode()
        return array.chunk if rest == array.chunk_key and array.cells.size else None
