"""One block where its config says that something changes: past a window, a chunk, or a length it was first made for.

The check's prompt is short, and what holds for its positions may not hold further on. Here the block is run on the same
residuals as if they stood at that place of a long text: the cache that the model is given says how much came before,
and holds keys and values of zeros for it. Costs one block's forward for each such place, and memory for the zeros
(`MOST_KEPT` keys of one block at most).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from glassformer.capture.capture import Capture
from glassformer.capture.model_operands import CapturedOperands
from glassformer.capture.rerun import rerun_block
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.generate import takes_positions
from glassformer.compute.library import find_cache_name
from glassformer.compute.position_limit import Limit
from glassformer.structure.structure import Structure

# Points whose equations may depend on where a position stands.
PLACED_POINTS = ("q", "k", "attn_scores")
# Keys before the check's own, at most: a window or a chunk of more than that cannot be tried.
MOST_KEPT = 2**14


class FarLayer(DynamicLayer):
    """A block's cache that says that `seen` positions came before, and holds zeros for the last `kept` of them."""

    def __init__(self, seen: int, kept: int) -> None:
        super().__init__()
        self.seen, self.kept = seen, kept

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.kept + query_length, self.seen - self.kept

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return self._follow(key_states), self._follow(value_states)

    def _follow(self, states: Tensor) -> Tensor:
        return torch.cat([states.new_zeros(*states.shape[:2], self.kept, states.shape[3]), states], dim=2)


class Far(CapturedOperands):
    """What a block computes at such a place: the operands of its equations there (see `Operands`)."""

    def __init__(
        self,
        structure: Structure,
        block: int,
        token_ids: Tensor,
        residual: Tensor,
        limit: Limit,
        context: int,
    ) -> None:
        """Runs the block; whatever the model raises comes through."""
        super().__init__(structure, token_ids)
        count = len(token_ids)
        self.limit = limit
        # The check's positions lie around the place, as far as the context goes.
        self.seen = max(0, min(limit.position - count // 2, context - count))
        self.kept = min(self.seen, MOST_KEPT) if limit.kind == "span" else 0
        if self.kept < self.seen and limit.kind == "span":
            raise ValueError(f"{limit.position} positions are too many to try")
        self._block = block
        self._capture = capture = Capture(
            structure, [f"{point}.{block}" for point in ("attn_in", "q", "k", "v")]
        )
        layers: list[Any] = [FarLayer(self.seen, self.kept) for _ in structure.blocks]
        given: dict[str, Any] = {find_cache_name(structure.model): Cache(layers=layers), "use_cache": True}
        if takes_positions(type(structure.model).forward):
            given["position_ids"] = torch.arange(self.seen, self.seen + count, device=token_ids.device)[None]
        rerun_block(structure, block, token_ids, residual, capture, **given)
        self.call: AttentionCall = capture.calls[block]
        self.values = {**capture.values, f"k.{block}": self.call.key}
        self._own_key = capture.values[f"k.{block}"]

    def actual(self, point: str) -> Tensor:
        """What the block computed at one of `PLACED_POINTS`; scores of all keys, those of zeros too."""
        if point == "attn_scores":
            return self.call.widened().scores()
        return self._own_key if point == "k" else self.values[f"{point}.{self._block}"]

    def first_positions(self) -> tuple[int, int]:
        return self.seen, self.seen - self.kept
