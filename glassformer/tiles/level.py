"""Resolution levels: level 0 is exact, each next one pools 2 x 2 cells of the last two axes.

Pooling keeps the value of largest magnitude with its sign (what stands out is what matters; the positive one where
two are equal), with the mean beside it. Cells that are not finite (a masked score, an edge) are left out; a pool of
nothing but those stays not finite.

Memory: whatever the level, `read` is asked for at most `STRIP_CELLS` cells at a time (or one row where a row is
longer), and what is made of a strip on the way holds at most twice as much again: 48 MiB in float32, beside the
answer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Cells = npt.NDArray[Any]
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


def read_level(
    read: Callable[[Region], Array], shape: Sequence[int], level: int, region: Region, pooling: Pooling
) -> Array:
    """Cells of `region` (in the level's own coordinates), reading level 0 in strips of bounded size."""
    if level == 0:
        return read(region)
    factor = 2**level
    axes = min(2, len(shape))
    bounds = [
        slice(part.start * factor, min(part.stop * factor, size))
        for part, size in zip(region[-axes:], shape[-axes:], strict=True)
    ]
    leading, rest = region[:-axes], bounds[1:]
    # The only axis of a vector is its rows: a matrix of one column, of which no columns are pooled.
    across = factor if rest else 1
    width = int(np.prod([part.stop - part.start for part in (*leading, *rest)], dtype=np.int64))
    at_once = max(1, STRIP_CELLS // max(1, width))
    # Whole pools where they fit, else the largest share of one that divides it.
    down = min(factor, 2 ** (at_once.bit_length() - 1))
    strip = at_once // down * down

    def strips() -> Iterator[Array]:
        for start in range(bounds[0].start, bounds[0].stop, strip):
            cells = read((*leading, slice(start, min(start + strip, bounds[0].stop)), *rest))
            yield cells if rest else cells[:, None]

    pool_strips = pool_magnitude if pooling == "magnitude" else pool_mean
    pooled = pool_strips(strips(), down, across, factor // down)
    return pooled if rest else pooled[:, 0]


def pool_magnitude(strips: Iterator[Array], down: int, across: int, again: int) -> Array:
    """The cell of largest magnitude of each `down * again` x `across` cells, for rows that come in strips."""
    parts = [largest(cells, down, across) for cells in strips]
    return largest(np.concatenate(parts, axis=-2), again, 1)


def pool_mean(strips: Iterator[Array], down: int, across: int, again: int) -> Array:
    """The mean of the finite cells of each `down * again` x `across` cells, for rows that come in strips."""
    sums, counts = [], []
    for cells in strips:
        finite = np.isfinite(cells)
        whole = cells if finite.all() else np.where(finite, cells, np.float32(0))
        sums.append(add_up(whole, down, across))
        counts.append(add_up(finite, down, across))
    total = add_up(np.concatenate(sums, axis=-2), again, 1)
    count = add_up(np.concatenate(counts, axis=-2), again, 1)
    mean: Cells = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean.astype(np.float32)


def largest(cells: Array, down: int, across: int) -> Array:
    """The cell of largest magnitude of each `down` x `across` cells; what is not finite counts only among its like."""
    high, low = fold(cells, down, across, np.maximum), fold(cells, down, across, np.minimum)
    # Neither is finite where any cell of the pool was not: then once more, without those cells.
    if not (np.isfinite(high).all() and np.isfinite(low).all()):
        finite = np.isfinite(cells)
        least, most = np.float32(-np.inf), np.float32(np.inf)
        lost = high
        high = fold(np.where(finite, cells, least), down, across, np.maximum)
        low = fold(np.where(finite, cells, most), down, across, np.minimum)
        is_empty = high < low
        high, low = np.where(is_empty, lost, high), np.where(is_empty, lost, low)
    return np.where(high >= -low, high, low)


def add_up(cells: Cells, down: int, across: int) -> Cells:
    """The sum of each `down` x `across` cells, in float64."""
    rows = _fold_rows(cells, down, np.add, np.float64)
    return _fold_columns(rows, across, np.add)


def fold(cells: Array, down: int, across: int, join: np.ufunc) -> Array:
    """`join` over each `down` x `across` cells of the last two axes; pools at the far edges are smaller."""
    return _fold_columns(_fold_rows(cells, down, join, cells.dtype), across, join)


def _fold_rows(cells: Cells, down: int, join: np.ufunc, dtype: npt.DTypeLike) -> Cells:
    rows, columns = cells.shape[-2:]
    whole = rows // down * down
    grouped = cells[..., :whole, :].reshape(*cells.shape[:-2], rows // down, down, columns)
    folded: Cells = join.reduce(grouped, axis=-2, dtype=dtype)
    if whole == rows:
        return folded
    rest = join.reduce(cells[..., whole:, :], axis=-2, keepdims=True, dtype=dtype)
    return np.concatenate([folded, rest], axis=-2)


def _fold_columns(cells: Cells, across: int, join: np.ufunc) -> Cells:
    # By halves: numpy reduces a short last axis thirty times as slowly as it joins two arrays.
    while across > 1:
        columns = cells.shape[-1]
        paired = columns // 2 * 2
        joined = join(cells[..., 0:paired:2], cells[..., 1:paired:2])
        cells = joined if paired == columns else np.concatenate([joined, cells[..., -1:]], axis=-1)
        across //= 2
    return cells
