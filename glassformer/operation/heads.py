"""Features by heads and side by side."""

from __future__ import annotations

from torch import Tensor


def merge_heads(x: Tensor) -> Tensor:
    """[head, pos, d_head] as [pos, feature]."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[pos, feature] as [head, pos, d_head]."""
    return x.reshape(x.shape[0], heads, -1).transpose(0, 1)
