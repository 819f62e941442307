"""A packed row whose rows all stand at one position of one text, each a different course of what happens there.

They share the keys and values of the positions before, which cannot change (attention is causal), and each has its own
key and value beside them. Nothing is copied for a row: scores against the past are one product for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glassformer.compute.attention_call import AttentionCall, compute_probabilities
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.packed_row import Packing

# Scores formed at once: 16 MiB of float32.
SCORES = 2**22

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of the positions before, [kv_head, past, d_head] each."""


class SharedPast(Packing):
    """Rows at position `pos`. Set `past` to what the attention calls of a block see before each block is run.

    `hidden` [row, pos] says which of the positions before a row must not see; None where each sees all.
    """

    def __init__(self, pos: int) -> None:
        # Masks are made for one row at that position.
        super().__init__([PackedSpan(slice(0, 1), pos, KeyValueStore())])
        self.past: Sequence[KeysValues] = ()
        self.hidden: Tensor | None = None

    @property
    def is_single(self) -> bool:
        """Never: compiled code has no place for rows that share what they see."""
        return False

    def enter(self, past: Sequence[KeysValues], hidden: Tensor | None) -> None:
        """Begin with another block."""
        self.past, self.hidden, self.calls = past, hidden, 0

    def attend(self, call: int, asked: AttentionCall) -> Tensor:
        """What attention call `call` of the block mixes for every row, [1, row, head, d_head].

        `asked` holds each row's query, key and value, and the mask of one such row.
        """
        keys, values = self.past[call]
        return torch.cat(
            [
                mix(asked, keys, values, rows, self.hidden)
                for rows in split_rows(asked.query.shape[1], asked.query.shape[0] * (keys.shape[1] + 1))
            ]
        )[None]


def split_rows(count: int, scores_each: int) -> list[slice]:
    """Runs of rows whose scores are formed at once."""
    size = max(1, SCORES // scores_each)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def mix(asked: AttentionCall, keys: Tensor, values: Tensor, rows: slice, hidden: Tensor | None) -> Tensor:
    """The mixed values of some rows, [row, head, d_head], in the format of the queries.

    Summed in float32, as fused attention does. Query heads share key/value heads in groups (Ainslie et al. 2023).
    """
    query = asked.query[:, rows].float()
    heads, count, width = query.shape
    kv_heads, past = keys.shape[:2]
    grouped = query.reshape(kv_heads, -1, width)
    own_key, own_value = (
        own[:, rows].float().repeat_interleave(heads // kv_heads, 0) for own in (asked.key, asked.value)
    )
    before = torch.matmul(grouped, keys.float().transpose(1, 2)).view(heads, count, past)
    own = (query * own_key).sum(-1, keepdim=True)
    scores = torch.cat([before, own], -1).mul_(asked.scaling)
    if asked.softcap is not None:
        scores = asked.softcap * torch.tanh(scores / asked.softcap)
    if asked.mask is not None:
        scores = scores.masked_fill(~asked.mask[..., : past + 1], -torch.inf)
    if hidden is not None:
        scores[..., :past].masked_fill_(hidden[rows], -torch.inf)
    weights = compute_probabilities(scores, None if asked.sinks is None else asked.sinks.float())
    # No part of a size is left to be found out: at the first position there is no past, and none could be.
    shape = (kv_heads, heads // kv_heads * count, past)
    mixed = torch.matmul(weights[..., :past].reshape(shape), values.float())
    mixed = mixed.view(heads, count, values.shape[-1]) + weights[..., past:] * own_value
    return mixed.transpose(0, 1).to(asked.query.dtype)
