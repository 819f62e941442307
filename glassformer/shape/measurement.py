"""What one forward on `meta` shows: the size of every site, worked out by PyTorch from the model's own code.

Blocks that are alike run once: the others hand on what the first of them gave. Costs some hundred operations of no
numbers each, about a millisecond a kind of block.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glassformer.anatomy.outline import BLOCK_POINTS
from glassformer.capture.capture import Capture, sift_addresses
from glassformer.compute.attention import UnknownAttention, install, select_attention
from glassformer.compute.hooking import hook_output
from glassformer.errors import GlassformerError
from glassformer.shape.skeleton import Sketching
from glassformer.structure.structure import Structure

log = logging.getLogger(__name__)

# As long as the prompt of the self-check.
POSITIONS = 16


class ShapeMeasurement:
    """The sites of a model on `meta`, for `Outline`: values of no numbers, of the first block of each kind."""

    def __init__(self, structure: Structure, groups: list[list[int]], context: int) -> None:
        self.values: dict[str, Tensor] = {}
        self.refusals: dict[str, str] = {}
        # Why no forward could be followed at all.
        self.fault: str | None = None
        self._structure = structure
        self._groups = groups
        self._token_ids = torch.zeros(
            max(2, min(POSITIONS, context)), dtype=torch.long, device=torch.device("meta")
        )

    def run(self) -> None:
        """Follow a forward, through the attention tap where the family has it. Raises ModelRefused after too long."""
        model, structure = self._structure.model, self._structure
        # The one way of computing experts whose sizes do not depend on which are chosen.
        if hasattr(model.config, "_experts_implementation"):
            model.config._experts_implementation = "batched_mm"
        faults: list[Exception] = []
        for is_tapped, is_once, hands_patterns in (
            (True, True, False),
            (True, False, False),
            (False, True, True),
            (False, True, False),
            (False, False, False),
        ):
            structure.untapped = None if is_tapped else "this family computes attention in its own way"
            structure.hands_patterns = hands_patterns
            # Every layout gives values of the same shape.
            structure.value_layout = 0 if hands_patterns and not is_tapped else None
            if not (install(model) if is_tapped else select_attention(model, "eager")) and is_tapped:
                continue
            try:
                self._follow(is_once=is_once)
            except GlassformerError:
                raise
            except (Exception, UnknownAttention) as exc:  # whatever a family's own code raises
                faults.append(exc)
                continue
            return
        log.info("no forward of the shape could be followed", exc_info=faults[-1])
        self.fault = "what it computes cannot be followed without weights"

    def _follow(self, *, is_once: bool) -> None:
        self.values, self.refusals = {}, {}
        points = [f"{point}.{group[0]}" for group in self._groups for point in BLOCK_POINTS]
        capture = Capture(
            self._structure,
            sift_addresses(self._structure, ["embeddings", *points, "final_norm", "lm_head"], self.refusals),
        )
        runs: Counter[int] = Counter()
        with self._each_kind_once(runs, is_once=is_once), capture.open(), Sketching():
            logits = self._structure.run(self._token_ids).logits
        self.values |= capture.values
        self.values["lm_head"] = logits[0]
        for block, call in capture.calls.items():
            heads, count, keys = call.query.shape[0], call.query.shape[1], call.key.shape[1]
            for point in ("attn_scores", "attn_probs"):
                self.values[f"{point}.{block}"] = call.query.new_empty(heads, count, keys)
        if self._structure.value_layout is not None:
            for address in [a for a in self.values if a.startswith("v.")]:
                if f"attn_probs.{address.partition('.')[2]}" not in self.values:
                    del self.values[address]
        for address in capture.addresses - self.values.keys():
            self.refusals[address] = "the model never runs the module that should give it"
        self.fault = self._find_fault()
        if max(runs.values(), default=0) > 1:
            self.fault = "some of its blocks run more than once in a forward"

    def _find_fault(self) -> str | None:
        if not self._groups:
            return "it has no blocks"
        wanted = (len(self._token_ids), self._structure.arch.d_model)
        for group in self._groups:
            sides = [self.values.get(f"resid_{side}.{group[0]}") for side in ("pre", "post")]
            if any(side is None for side in sides):
                return "not all of its blocks run on text alone"
            if any(tuple(side.shape) != wanted for side in sides if side is not None):
                return "what its blocks hand on is not one vector of the model's width for each position"
        return None

    @contextmanager
    def _each_kind_once(self, runs: Counter[int], *, is_once: bool) -> Iterator[None]:
        """Let all but the first block of each kind hand on what that one gave, where `is_once`; counts its runs."""
        replaced: list[nn.Module] = []
        given: dict[int, Any] = {}
        handles = []

        def keep(first: int, _module: nn.Module, _args: Any, output: Any) -> None:
            runs[first] += 1
            given[first] = output

        def hand_on(first: int, index: int, *_args: Any, **_kwargs: Any) -> Any:
            runs[index] += 1
            return given[first]

        for first, *others in self._groups:
            handles.append(hook_output(self._structure.blocks[first], partial(keep, first)))
            for index in others if is_once else ():
                block = self._structure.blocks[index]
                block.__dict__["forward"] = partial(hand_on, first, index)
                replaced.append(block)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for block in replaced:
                del block.__dict__["forward"]
