"""Features by heads and side by side."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def merge_heads(x: Tensor) -> Tensor:
    """[head, pos, d_head] as [pos, feature]."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[pos, feature] as [head, pos, d_head]."""
    return x.reshape(x.shape[0], heads, -1).transpose(0, 1)


def take_features(x: Tensor, attributes: dict[str, Any]) -> Tensor:
    """What an operation over features reads: [head, pos, d_head] side by side where `merge_heads` says so."""
    return merge_heads(x) if attributes.get("merge_heads") else x


def give_heads(x: Tensor, attributes: dict[str, Any]) -> Tensor:
    """What an operation over features gives: by heads where `heads` says how many."""
    heads = attributes.get("heads")
    return split_heads(x, int(heads)) if heads else x
