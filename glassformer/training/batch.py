"""Packs tokenized documents into rows. Knows nothing about where documents come from.

Several documents share a row; each attends only to itself and counts its positions from zero, so that packing
changes nothing but the speed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """Token ids of one document with, for each, the weight its prediction has in the loss."""

    ids: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True)
class Batch:
    ids: Tensor
    """Int["batch pos"]."""
    positions: Tensor
    """Int["batch pos"]: place within its own document."""
    mask: Tensor
    """Bool["batch 1 query key"]: True where the query may see the key."""
    weights: Tensor
    """Float["batch pos"]: of predicting this token from the ones before; 0 for padding and first tokens."""

    @property
    def tokens(self) -> int:
        return int((self.weights > 0).sum())

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            self.ids.to(device), self.positions.to(device), self.mask.to(device), self.weights.to(device)
        )


def pack(documents: Iterable[Encoded], *, rows: int, length: int, pad: int) -> Batch:
    """Fill `rows` rows from the stream, first fit; stops at the first document that fits nowhere."""
    ids = torch.full((rows, length), pad)
    positions = torch.zeros((rows, length), dtype=torch.long)
    weights = torch.zeros((rows, length))
    owner = torch.arange(length).expand(rows, length).clone() + length  # padding sees only itself
    used = [0] * rows
    for number, document in enumerate(documents):
        size = len(document.ids)
        if size > length:
            continue
        row = next((row for row in range(rows) if used[row] + size <= length), None)
        if row is None:
            break
        span = slice(used[row], used[row] + size)
        ids[row, span] = torch.tensor(document.ids)
        positions[row, span] = torch.arange(size)
        weights[row, span] = torch.tensor(document.weights)
        weights[row, used[row]] = 0.0
        owner[row, span] = -1 - number
        used[row] += size
    same = owner[:, :, None] == owner[:, None, :]
    causal = torch.ones((length, length), dtype=torch.bool).tril()
    return Batch(ids, positions, (same & causal)[:, None], weights)
