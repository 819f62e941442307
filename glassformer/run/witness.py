"""What is kept of rows whose memory is given up, to tell afterwards whether the same ones came back.

Of each row of each block a fingerprint of all its bits, and a few of its cells: with fingerprints alone it would be
known that something changed, and not by how much. Memory: up to `MOST_CELLS` cells and eight bytes for each row, which
is a thirtieth of the rows of a model of 576 features, and less of wider ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Cells kept of each row, of narrow ones a sixteenth: half of them of features that are largest somewhere, since a
# difference is large where cells are.
MOST_CELLS = 16


@dataclass(frozen=True, slots=True)
class Comparison:
    """How rows that were made again differ: how many do, and by how much in the cells that were kept."""

    changed_rows: int
    largest_difference: float


class Witness:
    """Fingerprints [block_and_end, pos] and cells [block_and_end, pos, cell] of residuals that are no longer held."""

    def __init__(self, residuals: Tensor) -> None:
        """Of `residuals`, Float[Tensor, "block_and_end pos d_model"] in float32."""
        width = residuals.shape[-1]
        half = max(1, min(MOST_CELLS, width // 16) // 2)
        largest = torch.maximum(residuals.amax((0, 1)), -residuals.amin((0, 1))).topk(half).indices
        spread = torch.arange(0, width, max(1, width // half))[:half]
        self._features: Tensor = torch.unique(torch.cat([largest, spread]))
        self._cells = residuals[..., self._features]
        self._fingerprints = fingerprint(residuals)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return self._cells.nbytes + self._fingerprints.nbytes + self._features.nbytes

    @property
    def boundaries(self) -> int:
        """How many residuals there are for each position: one more than blocks."""
        boundaries: int = len(self._fingerprints)
        return boundaries

    def compare(self, residuals: Tensor) -> Comparison:
        """Hold rows that were made again against those that were there."""
        if residuals.shape[:2] != self._fingerprints.shape:
            return Comparison(int(residuals.shape[1]), float("inf"))
        changed = fingerprint(residuals) != self._fingerprints
        if not bool(changed.any()):
            return Comparison(0, 0.0)
        if int(self._features.max()) >= residuals.shape[-1]:
            return Comparison(int(changed.any(0).sum()), float("inf"))
        difference = (residuals[..., self._features] - self._cells).abs().nan_to_num(0.0, float("inf"))
        return Comparison(int(changed.any(0).sum()), float(difference.max()))


def fingerprint(residuals: Tensor) -> Tensor:
    """For each row a number that any other bit in it changes, [block_and_end, pos]."""
    # Two cells at a time, where rows are cut into such.
    kind = torch.int64 if residuals.shape[-1] % 2 == 0 else torch.int32
    words = [block.contiguous().view(kind) for block in residuals]
    generator = torch.Generator().manual_seed(0)
    # Odd, so that no bit is lost; products and sums wrap around.
    weights = torch.randint(-(2**62), 2**62, words[0].shape[-1:], generator=generator) * 2 + 1
    return torch.stack([(block * weights).sum(-1) for block in words])
