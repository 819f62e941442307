"""What an attention module saw in one forward, and the equations of its scores and probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What one attention module saw in one forward, for one sequence.

    Shapes: `query` [head, query, d_head], `key` and `value` [kv_head, key, d_head]. `mask` is what the model
    passed on: None (plain causal), boolean (True = may attend) or additive, broadcastable to
    [head, query, key]. `first_row` is where the queries stand in a packed row, 0 elsewhere. `given` is all else that
    the module passed on, by the names of transformers' interface.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None
    sinks: Tensor | None
    first_row: int = 0
    given: Mapping[str, Any] = field(default_factory=dict)

    def scores(self, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        """Scores before the softmax, [head, query, key]: scaled, soft-capped, `-inf` where masked."""
        return compute_scores(
            self.query[heads, rows],
            self.key,
            mask=self._mask_rows(rows, heads),
            scaling=self.scaling,
            softcap=self.softcap,
            head_start=heads.start or 0,
            head_count=self.query.shape[0],
        )

    def probabilities(self, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        """Attention probabilities, [head, query, key]; with sinks a row sums to less than one."""
        return compute_probabilities(
            self.scores(rows, heads), None if self.sinks is None else self.sinks[heads]
        )

    def widened(self, device: torch.device | str | None = None) -> AttentionCall:
        """The same in float32, so that scores are not rounded to 16 bits, which would move one of 20 by up to 0.1.

        Fused attention sums them in float32 as well. `device` is where to; where it is, if None.
        """

        def widen(tensor: Tensor) -> Tensor:
            return tensor.to(tensor.device if device is None else device, torch.float32)

        return replace(
            self,
            query=widen(self.query),
            key=widen(self.key),
            value=widen(self.value),
            mask=self.mask if self.mask is None or device is None else self.mask.to(device),
            sinks=None if self.sinks is None else widen(self.sinks),
        )

    def _mask_rows(self, rows: slice, heads: slice) -> Tensor:
        query_count, key_count = self.query.shape[1], self.key.shape[1]
        if self.mask is None:
            first = key_count - query_count
            positions = torch.arange(query_count, device=self.query.device)[rows] + first
            return (torch.arange(key_count, device=self.query.device)[None, :] <= positions[:, None])[None]
        mask = self.mask[heads, rows] if self.mask.shape[0] > 1 else self.mask[:, rows]
        return mask[..., :key_count]


def compute_scores(
    query: Tensor,
    key: Tensor,
    *,
    mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    head_start: int = 0,
    head_count: int | None = None,
) -> Tensor:
    """Scaled dot products, `scaling * q . k` (Vaswani et al. 2017, section 3.2.1), soft-capped, then masked.

    `query` [head, query, d_head] may be a run of heads that starts at `head_start` of `head_count`; each group of
    query heads shares one key/value head (Ainslie et al. 2023). Returns [head, query, key].
    """
    groups = (head_count or query.shape[0]) // key.shape[0]
    shared = [(head_start + head) // groups for head in range(query.shape[0])]
    scores = torch.matmul(query, key[shared].transpose(1, 2)).mul_(scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill_(~mask, -torch.inf)
    shut = mask <= torch.finfo(mask.dtype).min / 2
    return (scores + mask).masked_fill(shut, -torch.inf)


def compute_probabilities(scores: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Softmax over keys in float32, with one learned sink logit a head in the denominator if there are any."""
    wide = scores.float()
    if sinks is not None:
        column = sinks.float().view(-1, 1, 1).expand(-1, wide.shape[1], 1)
        return torch.softmax(torch.cat([wide, column], dim=-1), dim=-1)[..., :-1].to(scores.dtype)
    return torch.softmax(wide, dim=-1).to(scores.dtype)
