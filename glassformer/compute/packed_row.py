"""One row that holds rows of many sequences: whose they are, and the masks that each would have had alone.

While one is computed (`packing`), transformers' masks are put off until the attention tap knows the sequences.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import sdpa_mask

from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.key_value import PackedSpan
from glassformer.compute.key_value_batch import BatchedRows

_local = threading.local()


class Packing:
    """The spans of the packed row that a forward computes, and how many attention calls it has made so far.

    Those of `batches` can attend together; with the others, `apart`, after them, `order` brings rows back into order.
    `compiled_call` is an earlier call of the block being computed, where that is compiled: what it says beside queries,
    keys and values is left out of the compiled code, which all blocks share. `on_pattern` hears of each attention
    module and what its mask is made from.
    """

    def __init__(self, spans: Sequence[PackedSpan], batches: Sequence[BatchedRows] = ()) -> None:
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
        self.on_pattern: Callable[[nn.Module, Pattern], None] | None = None

    @property
    def is_single(self) -> bool:
        """Whether the forward computes one row."""
        rows = self.spans[0].rows
        return len(self.spans) == 1 and rows.stop - rows.start == 1


class NotPackable(Exception):
    """The model attends in a way that rows of several sequences cannot share a forward."""


@contextmanager
def packing(spans: Sequence[PackedSpan], batches: Sequence[BatchedRows] = ()) -> Iterator[Packing]:
    """Let this thread's forwards inside compute one packed row of `spans`, in the order of their rows."""
    packed = Packing(spans, batches)
    with computing_row(packed):
        yield packed


@contextmanager
def computing_row(packed: Packing) -> Iterator[None]:
    """Let this thread's forwards inside compute that packed row."""
    _local.packing = packed
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


class Pattern:
    """What transformers was about to make a mask from, kept to make one for each sequence instead."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self._masks: dict[tuple[int, int], Tensor | None] = {}
        self._batch_masks: dict[BatchedRows, Tensor] = {}

    def mask(self, span: PackedSpan) -> Tensor | None:
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
