"""Keys that a row of a whole text is not to see: words hidden from one position, in the masks of attention."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

_local = threading.local()


@dataclass(frozen=True, slots=True)
class Hidden:
    """The positions `keys`, which the query at position `row` must not see."""

    row: int
    keys: Sequence[int]


@contextmanager
def hiding(hidden: Hidden | None) -> Iterator[None]:
    """Hide keys in every attention call that this thread makes through the tap inside."""
    _local.hidden = hidden
    try:
        yield
    finally:
        _local.hidden = None


def find_hidden() -> Hidden | None:
    """What is hidden in this thread, if anything."""
    return getattr(_local, "hidden", None)


def hide(hidden: Hidden, mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """The mask with the hidden keys shut, of a call with `query` and `key` [batch, head, pos, d_head].

    `mask` is boolean (True = may attend), additive, or None for plain causal.
    """
    rows, count = query.shape[2], key.shape[2]
    if mask is None:
        mask = torch.ones(rows, count, dtype=torch.bool, device=query.device).tril(count - rows)[None, None]
    return shut(mask, hidden)


def shut(mask: Tensor, hidden: Hidden) -> Tensor:
    """A copy of a causal `mask` [..., query, key] with the hidden keys shut, as the last key is to the first query.

    What that is differs: some models have True where a key is seen, some where it is not.
    """
    changed = mask.clone()
    changed[..., hidden.row, list(hidden.keys)] = mask[..., 0, -1:]
    return changed
