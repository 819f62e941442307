"""The attention tap: one function that every family on transformers' attention interface calls.

It knows neither blocks nor recordings: whoever wants queries, keys and values as attention really sees
them (after rotary embedding and cache) opens `watching(...)`. Unwatched, it costs one attribute look-up a
call and hands over to PyTorch's fused attention. Scores and probabilities are formed only when asked for,
for the heads and query rows asked for (transformers documentation, "Attention Interface").

Inside `packing(...)` one row holds rows of many sequences, and each attends to its own keys and values alone, with the
mask that transformers itself would have made for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from glassformer.model.key_value import KeyValueStore
from glassformer.model.key_value_batch import BatchedRows

NAME = "glassformer"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What one attention module saw in one forward, for one sequence.

    Shapes: `query` [head, query, d_head], `key` and `value` [kv_head, key, d_head]. `mask` is what the model
    passed on: None (plain causal), boolean (True = may attend) or additive, broadcastable to
    [head, query, key]. `first_row` is where the queries stand in a packed row, 0 elsewhere.
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


Watch = Callable[[AttentionCall], None]
_local = threading.local()


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call `watch` with every attention call this thread makes inside; the inner of two wins."""
    outer = find_watch()
    _local.watch = watch
    try:
        yield
    finally:
        _local.watch = outer


def find_watch() -> Watch | None:
    """Who watches the attention calls of this thread, if anybody."""
    return getattr(_local, "watch", None)


@dataclass(frozen=True, slots=True)
class Span:
    """The rows of a packed row that belong to one sequence; the first stands at position `start` of it."""

    rows: slice
    start: int
    store: KeyValueStore

    @property
    def stop(self) -> int:
        """The position after the last row's."""
        stop: int = self.start + self.rows.stop - self.rows.start
        return stop


class Packing:
    """The spans of the packed row that a forward computes, and how many attention calls it has made so far.

    Those of `batches` can attend together; with the others, `apart`, after them, `order` brings rows back into order.
    `compiled_call` is an earlier call of the block being computed, where that is compiled: what it says beside queries,
    keys and values is left out of the compiled code, which all blocks share.
    """

    def __init__(self, spans: Sequence[Span], batches: Sequence[BatchedRows] = ()) -> None:
        self.spans = spans
        self.batches = batches
        starts = [span.rows.start for batch in batches for span in batch.spans]
        self.apart = [span for span in spans if span.rows.start not in starts]
        self.order: Tensor | None = None
        computed = starts + [span.rows.start for span in self.apart]
        if computed != sorted(computed):
            apart = [row for span in self.apart for row in range(span.rows.start, span.rows.stop)]
            self.order = torch.tensor(starts + apart, device=batches[0].rows.device).argsort()
        self.calls = 0
        self.compiled_call: AttentionCall | None = None

    @property
    def is_single(self) -> bool:
        """Whether the forward computes one row, whose attention nobody watches."""
        rows = self.spans[0].rows
        return len(self.spans) == 1 and rows.stop - rows.start == 1 and find_watch() is None


class NotPackable(Exception):
    """The model attends in a way that rows of several sequences cannot share a forward."""


@contextmanager
def packing(spans: Sequence[Span], batches: Sequence[BatchedRows] = ()) -> Iterator[None]:
    """Let this thread's forwards inside compute one packed row of `spans`, in the order of their rows."""
    _local.packing = Packing(spans, batches)
    try:
        yield
    finally:
        _local.packing = None


def find_packing() -> Packing | None:
    """The packed row that this thread is computing, if any."""
    return getattr(_local, "packing", None)


def is_packing() -> bool:
    """Whether this thread is computing a packed row."""
    return find_packing() is not None


def is_traced() -> bool:
    """Whether this very call is traced to be compiled; torch's `is_compiling` is true while any thread compiles."""
    return torch.compiler.is_dynamo_compiling()


class Pattern:
    """What transformers was about to make a mask from, kept to make one for each sequence instead."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self._masks: dict[tuple[int, int], Tensor | None] = {}
        self._batch_masks: dict[BatchedRows, Tensor] = {}

    def mask(self, span: Span) -> Tensor | None:
        """The mask of a span, [1, 1, query, key]; None where the fused attention needs none."""
        key = (span.start, span.stop)
        if key not in self._masks:
            self._masks[key] = sdpa_mask(
                **{
                    **self.arguments,
                    "batch_size": 1,
                    "q_length": span.stop - span.start,
                    "kv_length": span.stop,
                    "q_offset": span.start,
                    "kv_offset": 0,
                    "attention_mask": None,
                }
            )
        return self._masks[key]

    def mask_batch(self, batch: BatchedRows, dtype: torch.dtype) -> Tensor:
        """What a batch's slots add to their scores, [slot, 1, 1, key]: nothing, or `-inf` where masked."""
        if batch not in self._batch_masks:
            added = torch.zeros(batch.slot_count, 1, 1, batch.longest, dtype=dtype, device=batch.rows.device)
            for slot, span in zip(batch.slots, batch.spans, strict=True):
                added[slot, ..., span.stop :] = -torch.inf
                mask = self.mask(span)
                if mask is not None:
                    added[slot, ..., : span.stop].masked_fill_(~mask[0], -torch.inf)
            self._batch_masks[batch] = added
        return self._batch_masks[batch]


def make_mask(**arguments: Any) -> Tensor | None:
    """The mask function beside the tap: transformers' own, put off while packing until the spans are at hand."""
    if not is_packing():
        return sdpa_mask(**arguments)
    if not arguments.get("allow_is_causal_skip", True):
        raise NotPackable  # the model reads the mask itself, outside attention
    carrier = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=arguments.get("device", "cpu"))
    carrier.pattern = Pattern(arguments)  # type: ignore[attr-defined]
    return carrier


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
    if is_traced():
        return attend_compiled(query, key, value, attention_mask), None
    packed = find_packing()
    if packed is not None:
        return attend_packed(packed, module, query, key, value, attention_mask, scaling, **kwargs)
    if is_fused(kwargs) and find_watch() is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    mixed = [
        attend_alone(
            module,
            query[row : row + 1],
            key[row : row + 1],
            value[row : row + 1],
            None if attention_mask is None else attention_mask[min(row, len(attention_mask) - 1)][None],
            scaling,
            **kwargs,
        )
        for row in range(query.shape[0])
    ]
    return torch.cat(mixed), None


def attend_packed(
    packed: Packing,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`attend` for a packed row: each span's queries see the keys and values of its own store, new ones included.

    Raises NotPackable where the model's mask did not come through, or depends on more than positions.
    """
    pattern = getattr(attention_mask, "pattern", None)
    is_causal = kwargs.get("is_causal")
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if not isinstance(pattern, Pattern) or not is_causal or kwargs.get("position_bias") is not None:
        raise NotPackable
    call, packed.calls = packed.calls, packed.calls + 1
    fused = is_fused(kwargs)
    if not fused:
        for batch in packed.batches:
            batch.refuse()
    is_plain = fused and find_watch() is None
    batches = packed.batches if is_plain else ()
    mixed = []
    for batch in batches:
        keys, values = batch.extend(call, key, value)
        added = pattern.mask_batch(batch, query.dtype)
        mixed.append(batch.scatter(attend_rows(batch.gather(query), keys, values, added, scaling))[None])
    for span in packed.apart if batches else packed.spans:
        queries, new_keys, new_values = (rows[:, :, span.rows] for rows in (query, key, value))
        keys, values = span.store.extend(call, span.start, new_keys, new_values)
        mask = pattern.mask(span)
        if is_plain and queries.shape[2] == 1:
            mixed.append(attend_rows(queries[:, :, 0], keys, values, mask, scaling)[None])
        else:
            mixed.append(
                attend_alone(
                    module, queries, keys, values, mask, scaling, first_row=span.rows.start, **kwargs
                )
            )
    joined = torch.cat(mixed, dim=1) if len(mixed) > 1 else mixed[0]
    return (joined if not batches or packed.order is None else joined.index_select(1, packed.order)), None


def attend_rows(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Fused attention of one row each of some sequences, [sequence, head, d_head].

    `query` is [sequence, head, d_head], `keys` and `values` [sequence, kv_head, key, d_head]. The query heads that
    share a key/value head stand as rows of it, so that nothing is repeated (Ainslie et al. 2023).
    """
    rows = query.unflatten(1, (keys.shape[1], -1))
    count = rows.shape[2]
    if count == 1 and query.dtype != torch.float32 and query.device.type == "cpu":
        # PyTorch's kernel needs half as long for two rows of 16-bit numbers as for one.
        rows = rows.expand(-1, -1, 2, -1)
    mixed = functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scaling)
    return mixed[:, :, :count].flatten(1, 2)


@torch.library.custom_op("glassformer::attend", mutates_args=())
def attend_compiled(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`attend` as one opaque operation of a compiled block: the row's keys and values lie outside of its graph."""
    packed = find_packing()
    if packed is None or packed.compiled_call is None:
        raise NotPackable
    call = packed.compiled_call
    mixed, _ = attend_packed(
        packed, call.module, query, key, value, mask, call.scaling, softcap=call.softcap, s_aux=call.sinks
    )
    return mixed.contiguous()  # as compiled code expects it


@attend_compiled.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    batch, head_count, row_count, _ = query.shape
    return query.new_empty(batch, row_count, head_count, value.shape[-1])


def attend_alone(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    *,
    first_row: int = 0,
    **kwargs: Any,
) -> Tensor:
    """`attend` for one sequence: tells whoever watches, and mixes the values, [1, query, head, d_head]."""
    watch = find_watch()
    fused = is_fused(kwargs)
    if watch is not None or not fused:
        call = AttentionCall(
            module=module,
            query=query[0],
            key=key[0],
            value=value[0],
            mask=None if mask is None else mask[0],
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
            softcap=kwargs.get("softcap"),
            sinks=kwargs.get("s_aux"),
            first_row=first_row,
        )
        if watch is not None:
            watch(call)
        if not fused:
            groups = query.shape[1] // key.shape[1]
            return (call.probabilities() @ call.value.repeat_interleave(groups, dim=0)).transpose(0, 1)[None]
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)[0]


def is_fused(kwargs: dict[str, Any]) -> bool:
    """Whether PyTorch's fused attention computes what is asked: no soft cap, no sinks."""
    return kwargs.get("softcap") is None and kwargs.get("s_aux") is None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, make_mask)


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
