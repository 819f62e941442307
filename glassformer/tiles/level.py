"""Resolution levels: level 0 is exact, each next one pools 2 x 2 cells of the last two axes.

Pooling keeps the value of largest magnitude with its sign (what stands out is what matters), with the mean beside it.
Cells that are not finite (a masked score, an edge) are left out; a pool of nothing but those stays not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Region = tuple[slice, ...]
Pooling = Literal["magnitude", "mean"]

# A matrix of at most this many cells a side is shown whole at any distance: no further level is of use.
SMALLEST_SIDE = 64
# Cells of level 0 held at once while a higher level is computed (16 MiB of float32).
STRIP_CELLS = 4 * 2**20


def count_levels(shape: Sequence[int]) -> int:
    """How many levels an array has: the last one is the first to fit `SMALLEST_SIDE` on both of its last axes."""
    side = max(shape[-2:], default=1)
    count = 1
    while side > SMALLEST_SIDE:
        side = -(-side // 2)
        count += 1
    return count


def level_shape(shape: Sequence[int], level: int) -> tuple[int, ...]:
    """The shape of a level: the last two axes (or the only one) halved `level` times, rounded up."""
    return tuple(-(-size // 2**level) if axis >= len(shape) - 2 else size for axis, size in enumerate(shape))


def pool(cells: Array, pooling: Pooling, factor: int) -> Array:
    """Pool `factor` x `factor` cells of the last two axes (or `factor` of the only one) into one."""
    axes = min(2, cells.ndim)
    padding = [(0, 0)] * (cells.ndim - axes) + [(0, -size % factor) for size in cells.shape[-axes:]]
    padded = np.pad(cells, padding, constant_values=np.nan)
    split: list[int] = list(cells.shape[:-axes])
    for size in padded.shape[-axes:]:
        split += [size // factor, factor]
    grouped = padded.reshape(split)
    # [..., rows, factor, columns, factor] -> [..., rows, columns, factor * factor]
    if axes == 2:
        grouped = np.swapaxes(grouped, -3, -2)
        grouped = grouped.reshape(*grouped.shape[:-2], factor * factor)
    finite = np.isfinite(grouped)
    if pooling == "mean":
        count = finite.sum(-1)
        total = np.where(finite, grouped, 0.0).sum(-1, dtype=np.float64)
        pooled = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    else:
        magnitude = np.where(finite, np.abs(grouped), -1.0)
        best = magnitude.argmax(-1)[..., None]
        pooled = np.take_along_axis(grouped, best, -1)[..., 0]
    result: Array = pooled.astype(np.float32)
    return result


def read_level(
    read: Callable[[Region], Array], shape: Sequence[int], level: int, region: Region, pooling: Pooling
) -> Array:
    """Cells of `region` (in the level's own coordinates), reading level 0 in strips of bounded size."""
    if level == 0:
        return read(region)
    factor = 2**level
    axes = min(2, len(shape))
    leading, pooled = region[: len(shape) - axes], region[len(shape) - axes :]
    bounds = [
        slice(part.start * factor, min(part.stop * factor, size))
        for part, size in zip(pooled, shape[-axes:], strict=True)
    ]
    width = bounds[-1].stop - bounds[-1].start
    heads = int(np.prod([part.stop - part.start for part in leading], dtype=np.int64))
    rows_at_once = max(1, STRIP_CELLS // max(1, heads * width * factor)) * factor
    first = bounds[0]
    strips = [
        pool(
            read((*leading, slice(start, min(start + rows_at_once, first.stop)), *bounds[1:])),
            pooling,
            factor,
        )
        for start in range(first.start, first.stop, rows_at_once)
    ]
    return np.concatenate(strips, axis=-axes)
