"""Arrays with named axes and token labels, as xarray has them; read when they are used.

Small arrays are read at once, so that a notebook shows their numbers; larger ones know where their cells are and read
those that are asked for: `t["attn_probs.3"][2, -1]` forms one row of one head. Knows neither models nor folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from glassformer.tiles.level import Array, Region

# Cells read at once (4 MiB of float32).
EAGER_CELLS = 2**20
# Axes that count positions, and the coordinate that carries their tokens.
TOKEN_LABELS = {"pos": "token", "query": "query_token", "key": "key_token"}

Read = Callable[[Region], Array]


class LazyCells(BackendArray):
    """Cells behind a `read`, as xarray wants them."""

    def __init__(self, shape: Sequence[int], read: Read) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(np.float32)
        self._read = read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read_basic
        )

    def _read_basic(self, key: tuple[Any, ...]) -> Any:
        """The cells of whole numbers and slices, of any step and direction."""
        region: list[slice] = []
        within: list[Any] = []
        for chosen, size in zip(key, self.shape, strict=True):
            if isinstance(chosen, slice):
                places = range(*chosen.indices(size))
                first, last = (min(places[0], places[-1]), max(places[0], places[-1])) if places else (0, -1)
                region.append(slice(first, last + 1))
                within.append(slice(None, None, places.step))
            else:
                place = int(chosen) % size
                region.append(slice(place, place + 1))
                within.append(0)
        if any(part.start == part.stop for part in region):
            empty = np.empty([part.stop - part.start for part in region], self.dtype)
            return empty[tuple(within)]
        return self._read(tuple(region))[tuple(within)]


def label_cells(
    read: Read,
    shape: Sequence[int],
    axes: Sequence[str],
    *,
    name: str,
    tokens: Sequence[str] = (),
    attributes: Mapping[str, Any] | None = None,
) -> xarray.DataArray:
    """A DataArray over `read`; `tokens` are the texts of the recorded positions.

    `read` gives arrays of the caller's own: what is written to them changes neither the recording nor the model.
    """
    data: Any = indexing.LazilyIndexedArray(LazyCells(shape, read))
    if np.prod(shape, dtype=np.int64) <= EAGER_CELLS:
        data = read(tuple(slice(0, size) for size in shape))
    dims = name_axes(axes)
    return xarray.DataArray(
        xarray.Variable(dims, data),
        coords=token_coordinates(axes, shape, tokens),
        name=name,
        attrs=attributes,
    )


def name_axes(axes: Sequence[str]) -> list[str]:
    """Each axis once: xarray wants names that differ (`row`, `row_1`)."""
    named: list[str] = []
    for axis in axes:
        again = sum(other == axis for other in axes[: len(named)])
        named.append(f"{axis}_{again}" if again else axis)
    return named


def token_coordinates(axes: Sequence[str], shape: Sequence[int], tokens: Sequence[str]) -> dict[str, Any]:
    """Positions as whole numbers, and the text of each token beside them."""
    found: dict[str, Any] = {}
    for axis, size in zip(axes, shape, strict=True):
        if axis in TOKEN_LABELS and size <= len(tokens):
            found[axis] = (axis, np.arange(size))
            found[TOKEN_LABELS[axis]] = (axis, np.array(tokens[:size], dtype=object))
    return found
