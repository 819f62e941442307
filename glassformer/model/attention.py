"""The attention tap: one function that every family on transformers' attention interface calls.

It knows neither blocks nor recordings: whoever wants queries, keys and values as attention really sees
them (after rotary embedding and cache) opens `watching(...)`. Unwatched, it costs one attribute look-up a
call and hands over to PyTorch's fused attention. Scores and probabilities are formed only when asked for,
for the heads and query rows asked for (transformers documentation, "Attention Interface").
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "glassformer"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What one attention module saw in one forward, for a batch of one.

    Shapes: `query` [head, query, d_head], `key` and `value` [kv_head, key, d_head]. `mask` is what the model
    passed on: None (plain causal), boolean (True = may attend) or additive, broadcastable to
    [head, query, key].
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float
    softcap: float | None
    sinks: Tensor | None

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
    scores = torch.matmul(query, key[shared].transpose(1, 2)) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -torch.inf)
    shut = mask <= torch.finfo(mask.dtype).min / 2
    return (scores + mask).masked_fill(shut, -torch.inf)


def compute_probabilities(scores: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Softmax over keys in float32, with one learned sink logit a head in the denominator if there are any."""
    wide = scores.float()
    if sinks is not None:
        column = sinks.float().view(-1, 1, 1).expand(-1, wide.shape[1], 1)
        return torch.softmax(torch.cat([wide, column], dim=-1), dim=-1)[..., :-1].to(scores.dtype)
    return torch.softmax(wide, dim=-1).to(scores.dtype)


Watch = Callable[[AttentionCall], None]
_local = threading.local()


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call `watch` with every attention call this thread makes inside; the inner of two wins."""
    outer = getattr(_local, "watch", None)
    _local.watch = watch
    try:
        yield
    finally:
        _local.watch = outer


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention implementation itself, with the signature transformers' interface expects.

    Shapes: `query` [batch, head, query, d_head], `key`, `value` [batch, kv_head, key, d_head]; returns
    [batch, query, head, d_head]. Soft caps and sinks, which PyTorch's fused attention lacks, are computed here.
    """
    watch: Watch | None = getattr(_local, "watch", None)
    softcap, sinks = kwargs.get("softcap"), kwargs.get("s_aux")
    plain = softcap is None and sinks is None
    if watch is None and plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    calls = [
        AttentionCall(
            module=module,
            query=query[row],
            key=key[row],
            value=value[row],
            mask=None if attention_mask is None else attention_mask[min(row, attention_mask.shape[0] - 1)],
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
            softcap=softcap,
            sinks=sinks,
        )
        for row in range(query.shape[0])
    ]
    if watch is not None:
        for call in calls:
            watch(call)
    if plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    groups = query.shape[1] // key.shape[1]
    mixed = [call.probabilities() @ call.value.repeat_interleave(groups, dim=0) for call in calls]
    return torch.stack(mixed).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def install(model: PreTrainedModel) -> bool:
    """Select the tap for `model`; False if the family computes attention outside the shared interface.

    Only `set_attn_implementation` is used, and the choice is read back: setting the config directly has
    been seen to change logits silently.
    """
    return select_attention(model, NAME)


def select_attention(model: PreTrainedModel, name: str) -> bool:
    """Ask `model` for an attention implementation and say whether it took it."""
    transformers_log = logging.getLogger("transformers.modeling_utils")
    level = transformers_log.level
    transformers_log.setLevel(logging.ERROR)
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError):
        return False
    finally:
        transformers_log.setLevel(level)
    return bool(model.config._attn_implementation == name)
