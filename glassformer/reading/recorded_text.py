"""A recorded text up to one position, with its blocks ready to be run again: what was seen before that position.

Earlier positions cannot change what happens at a later one but through what the recording holds of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from glassformer import waiting
from glassformer.capture.capture import locate, read_hook
from glassformer.capture.frame import Frame
from glassformer.capture.rerun import leaving_after, leaving_early
from glassformer.compute.attention import watching
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.hooking import hook_input
from glassformer.compute.shared_past import KeysValues
from glassformer.errors import UnknownTrace
from glassformer.protocol.reading import Off
from glassformer.reading.expert_choice import Choice, read_choice
from glassformer.run.intervention import applied, inside_block
from glassformer.run.run import Run
from glassformer.structure.role import Hook, Refusal

# The sites whose means stand in for what is switched off.
MEANT = ("z", "attn_out", "mlp_out")


@dataclass(slots=True)
class BlockPast:
    """What a block did at the positions before, and whom it chose at the position itself.

    `keys_values` are those of its attention calls; `means` of the points in `MEANT` over the positions before but the
    first, [feature]; `experts` those chosen, with the mean of what each adds, None where that is not wanted;
    `reads` [pos] the attention weights at the position, summed over heads, where its attention is seen.
    """

    keys_values: list[KeysValues] = field(default_factory=list)
    means: dict[str, Tensor] = field(default_factory=dict)
    experts: dict[int, Tensor | None] = field(default_factory=dict)
    reads: Tensor | None = None


class RecordedText:
    """The text of `run` up to position `pos`; `off` says whether means are wanted. Its rows are in memory meanwhile."""

    def __init__(self, run: Run, pos: int, off: Off) -> None:
        self.run, self.pos, self.off = run, pos, off
        self.loaded = run.loaded
        self.structure = run.loaded.structure
        self.interventions = run.interventions
        ids = torch.tensor(run.token_ids[: pos + 1], device=self.loaded.device)
        self.token_ids = ids
        self.frame = Frame(self.structure, ids)

    @property
    def block_count(self) -> int:
        return len(self.structure.blocks)

    def go_on(self) -> None:
        """Raise UnknownTrace where the run has been deleted, and NobodyWaits where who asked has left."""
        waiting.go_on()
        if self.run.is_forgotten:
            raise UnknownTrace(self.run.id)

    def residual(self, block: int) -> Tensor:
        """What a block read, [pos, d_model] in float32; with the number of blocks what the last one left."""
        return self.run.recording.residual(block, self.pos + 1).to(self.loaded.device)

    def row(self, block: int) -> Tensor:
        """What a block read at the position, [1, d_model]."""
        return self.run.recording.residual(block, self.pos + 1)[self.pos :].to(self.loaded.device)

    @contextmanager
    def intervened(self, block: int) -> Iterator[None]:
        """With the run's interventions on every position of a block."""
        with applied(self.structure, inside_block(self.interventions, block), 0, self.pos + 1):
            yield

    def read_past(self, block: int, *, keys: bool) -> BlockPast:
        """What a block did before, its keys and values only where `keys`; the caller holds the lock.

        Costs the block's attention; the whole block where means are wanted or it has experts.
        """
        past, structure = BlockPast(), self.structure
        experts, attention = structure.experts(block), structure.attention(block)
        wants_all = experts is not None or self.off == "mean"
        if not wants_all and not keys:
            return past
        calls: list[AttentionCall] = []
        outputs: dict[str, Tensor] = {}
        choices: list[Choice] = []
        with torch.inference_mode(), ExitStack() as stack:
            stack.enter_context(self.intervened(block))
            stack.enter_context(watching(calls.append))
            if self.off == "mean":
                self._read_outputs(block, outputs, stack)
            if experts is not None:
                stack.callback(
                    hook_input(experts.experts, lambda *given: choices.append(read_choice(*given))).remove
                )
            if not wants_all and not isinstance(attention, Refusal):
                stack.enter_context(leaving_after(attention))
            with leaving_early():
                self.frame.run(block, self.residual(block))
            past.keys_values = [(call.key[:, : self.pos], call.value[:, : self.pos]) for call in calls]
            if calls:
                past.reads = sum_reads(calls, self.pos)
            past.means = {point: mean(rows) for point, rows in outputs.items()}
        with torch.inference_mode():
            for choice in choices:
                assert experts is not None
                past.experts |= self._describe_experts(experts.experts, choice)
        return past

    def _read_outputs(self, block: int, outputs: dict[str, Tensor], stack: ExitStack) -> None:
        for point in MEANT:
            place = locate(self.structure, point, block)
            if isinstance(place, Hook):
                stack.enter_context(read_hook(place, self._keep(outputs, point, place)))

    def _keep(self, outputs: dict[str, Tensor], point: str, place: Hook) -> Any:
        def keep(value: Any) -> None:
            tensor = value[place.item] if isinstance(value, (tuple, list)) else value
            outputs[point] = tensor.detach().reshape(-1, tensor.shape[-1])[: self.pos].float().clone()

        return keep

    def _describe_experts(self, experts: nn.Module, choice: Choice) -> dict[int, Tensor | None]:
        """The experts chosen at the position, each with the mean of what it adds at those before."""
        before = slice(1, self.pos)
        found: dict[int, Tensor | None] = {}
        for expert in choice.chosen_at(self.pos):
            found[expert] = None
            if self.off == "mean":
                rows = choice.only(expert, before).run(experts)
                found[expert] = rows.reshape(-1, rows.shape[-1]).float().mean(0)
        return found


def mean(rows: Tensor) -> Tensor:
    """The mean over all positions but the first, [feature], of `rows` [pos, feature]."""
    return rows[1:].mean(0)


def sum_reads(calls: list[AttentionCall], pos: int) -> Tensor:
    """The attention weights of the last position on those before it, [pos], summed over the heads of all calls."""
    row = slice(pos, pos + 1)
    return torch.stack([call.widened().probabilities(row)[:, 0, :pos].sum(0) for call in calls]).sum(0)
