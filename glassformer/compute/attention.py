"""The attention tap: one function that every family on transformers' attention interface calls.

It knows neither blocks nor recordings: whoever wants queries, keys and values as attention really sees
them (after rotary embedding and cache) opens `watching(...)`. Unwatched, it costs one attribute look-up a
call and hands over to PyTorch's fused attention. Scores and probabilities are formed only when asked for,
for the heads and query rows asked for (transformers documentation, "Attention Interface").

Inside `packing(...)` (`packed_row.py`) one row holds rows of many sequences, and each attends to its own keys and
values alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.hiding import find_hidden, hide
from glassformer.compute.packed_row import NotPackable, Packing, Pattern, find_packing, make_mask
from glassformer.compute.product import has_kernel
from glassformer.compute.shared_past import SharedPast

NAME = "glassformer"
# How many numbers of keys are widened for one call at most: a float32 copy of 8 MiB, and as much of values.
MOST_WIDENED = 2**21
# Tensors that attention may be given beside queries, keys, values and mask: looked at here, or without effect.
KNOWN_TENSORS = frozenset({"position_ids", "position_bias", "s_aux"})

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


@contextmanager
def tracing() -> Iterator[None]:
    """Let this thread's attention calls inside be traced, as one operation each."""
    _local.tracing = True
    try:
        yield
    finally:
        _local.tracing = False


def is_traced() -> bool:
    """Whether this thread traces a block."""
    return getattr(_local, "tracing", False)


class UnknownAttention(Exception):
    """The model's attention is given a tensor that the tap would leave out, such as which keys are chosen."""


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

    Raises UnknownAttention for a tensor that it does not know.
    """
    if is_traced():
        return attend_compiled(query, key, value, attention_mask), None
    for name, given in kwargs.items():
        if isinstance(given, Tensor) and name not in KNOWN_TENSORS:
            raise UnknownAttention(name)
    packed = find_packing()
    if packed is not None:
        return attend_packed(packed, module, query, key, value, attention_mask, scaling, **kwargs)
    hidden = find_hidden()
    if hidden is not None:
        attention_mask = hide(hidden, attention_mask, query, key)
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
    if packed.on_pattern is not None:
        packed.on_pattern(module, pattern)
    call, packed.calls = packed.calls, packed.calls + 1
    if isinstance(packed, SharedPast):
        mask = pattern.mask(packed.spans[0])
        one = describe_call(module, query[0], key[0], value[0], mask, scaling, kwargs, 0)
        return packed.attend(call, one), None
    fused = is_fused(kwargs)
    if not fused:
        for batch in packed.batches:
            batch.refuse()
    # Who watches is told, and changes nothing: what a model writes must not depend on whether somebody looks.
    watch = find_watch()
    batches = packed.batches if fused else ()
    mixed = []
    for batch in batches:
        keys, values = batch.extend(call, key, value)
        added = pattern.mask_batch(batch, query.dtype)
        mixed.append(batch.scatter(attend_rows(batch.gather(query), keys, values, added, scaling)))
        if watch is not None:
            for slot, span in zip(batch.slots, batch.spans, strict=True):
                seen = (query[0, :, span.rows], keys[slot, :, : span.stop], values[slot, :, : span.stop])
                watch(describe_call(module, *seen, pattern.mask(span), scaling, kwargs, span.rows.start))
    for span in packed.apart if batches else packed.spans:
        queries, new_keys, new_values = (
            (query, key, value)
            if len(packed.spans) == 1
            else (rows[:, :, span.rows] for rows in (query, key, value))
        )
        keys, values = span.store.extend(call, span.start, new_keys, new_values)
        mask = pattern.mask(span)
        first_row = span.rows.start
        if fused and queries.shape[2] == 1:
            if watch is not None:
                seen = (queries[0], keys[0], values[0])
                watch(describe_call(module, *seen, mask, scaling, kwargs, first_row))
            mixed.append(attend_rows(queries, keys, values, mask, scaling))
        else:
            mixed.append(
                attend_alone(module, queries, keys, values, mask, scaling, first_row=first_row, **kwargs)
            )
    joined = torch.cat(mixed, dim=1) if len(mixed) > 1 else mixed[0]
    return (joined if not batches or packed.order is None else joined.index_select(1, packed.order)), None


def attend_rows(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Fused attention of one row each of some sequences, [1, sequence, head, d_head].

    `query` holds [sequence, head, d_head] in that order, `keys` and `values` are [sequence, kv_head, key, d_head]. The
    query heads that share a key/value head stand as rows of it, so that nothing is repeated (Ainslie et al. 2023).
    """
    count, kv_heads, _, width = keys.shape
    rows = query.reshape(count, kv_heads, -1, width)
    grouped = rows.shape[2]
    if query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16):
        if is_quicker_widened(query.dtype, grouped, keys.numel()):
            rows, keys, values = rows.float(), keys.float(), values.float()
            mask = mask if mask is None or mask.dtype == torch.bool else mask.float()
        elif grouped == 1:
            # PyTorch's kernel needs half as long for two rows of 16-bit numbers as for one.
            rows = rows.expand(-1, -1, 2, -1)
    mixed = functional.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scaling)
    return mixed[:, :, :grouped].to(query.dtype).reshape(1, count, -1, values.shape[3])


def is_quicker_widened(dtype: torch.dtype, grouped: int, size: int) -> bool:
    """Whether a processor widens `size` numbers of keys and attends in float32 sooner than it attends in 16 bits.

    It does where it lacks such arithmetic, but not for rows of bfloat16 of which `grouped` share their keys, and not
    for long texts, whose wide copies would be made anew in memory each time (measured in docs/decisions/0007).
    """
    pays = dtype == torch.float16 or grouped == 1
    return pays and size <= MOST_WIDENED and not has_kernel(dtype)


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
        call = describe_call(module, query[0], key[0], value[0], mask, scaling, kwargs, first_row)
        if watch is not None:
            watch(call)
        if not fused:
            groups = query.shape[1] // key.shape[1]
            return (call.probabilities() @ call.value.repeat_interleave(groups, dim=0)).transpose(0, 1)[None]
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)[0]


def describe_call(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    given: dict[str, Any],
    first_row: int,
) -> AttentionCall:
    """What attention is asked for one sequence: `query`, `key`, `value` without the batch axis, `mask` with it."""
    return AttentionCall(
        module=module,
        query=query,
        key=key,
        value=value,
        mask=None if mask is None else mask[0],
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        softcap=given.get("softcap"),
        sinks=given.get("s_aux"),
        first_row=first_row,
        given=given,
    )


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
