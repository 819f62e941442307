"""What each block writes at one position, and what its heads read there: from the recording, block by block.

Each block runs again on its own recorded residual, a few of them in one step; between steps others have the model.
Kept are the rows of that one position, and what heads read: nothing grows with the square of a text.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer import waiting
from glassformer.capture.capture import Capture
from glassformer.capture.narrow import narrowed
from glassformer.capture.rerun import rerun_blocks
from glassformer.compute.computing import computing
from glassformer.compute.position_limit import list_limits
from glassformer.errors import UnknownTrace
from glassformer.protocol.reading import HeadReads, RefusedPiece
from glassformer.reading.flow import RowOperands
from glassformer.reading.heads import read_heads
from glassformer.reading.kept import NUMBER_BYTES
from glassformer.reading.plan import BlockPlan
from glassformer.run.intervention import applied, inside_block

if TYPE_CHECKING:
    from glassformer.run.run import Run

# Rows of all blocks of a step together: a few dozen milliseconds in which nobody else has the model.
STEP_ROWS = 256


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block at one position: rows of its sites by address, [1, feature] or [head, 1, d_head], in float32."""

    values: dict[str, Tensor]
    heads: list[HeadReads]
    refused: list[RefusedPiece]


@dataclass(frozen=True)
class PositionRows:
    """All blocks at one position. `stream` is the residual there, [boundary, d_model]."""

    position: int
    stream: Tensor
    blocks: list[BlockRow] = field(default_factory=list)

    @cached_property
    def nbytes(self) -> int:
        held = [self.stream, *(row for block in self.blocks for row in block.values.values())]
        cells = sum(3 * len(head.positions) for block in self.blocks for head in block.heads)
        return sum(tensor.nbytes for tensor in held) + NUMBER_BYTES * cells


def read_position(run: Run, pos: int) -> PositionRows:
    """The rows of position `pos` of every block, a few blocks in a step. The caller holds the run's rows.

    Raises UnknownTrace where the run is deleted meanwhile, and NobodyWaits.
    """
    structure = run.loaded.structure
    blocks = len(structure.blocks)
    plans = [BlockPlan(run, block) for block in range(blocks)]
    # Later positions change nothing, but where the length of the text decides how places are written.
    limits = list_limits(structure.model.config, run.loaded.context)
    count = run.positions if any(limit.kind == "place" for limit in limits) else pos + 1
    stream = torch.stack([run.recording.residual(boundary)[pos].clone() for boundary in range(blocks + 1)])
    found = PositionRows(pos, stream)
    width = max(1, STEP_ROWS // count)
    for first in range(0, blocks, width):
        waiting.go_on()
        if run.is_forgotten:
            raise UnknownTrace(run.id)
        found.blocks.extend(read_blocks(run, plans[first : first + width], pos, count))
    return found


def read_blocks(run: Run, plans: list[BlockPlan], pos: int, count: int) -> list[BlockRow]:
    """Some blocks in a row at a position, by running them on the first `count` positions."""
    loaded, structure = run.loaded, run.loaded.structure
    blocks = range(plans[0].block, plans[-1].block + 1)
    capture = Capture(structure, [address for plan in plans for address in plan.wanted])
    with loaded.lock, ExitStack() as stack:
        edits = [edit for block in blocks for edit in inside_block(run.interventions, block)]
        # Before all other hooks, so that the captured outputs have their rows at their places.
        alone = [module for plan in plans for module in plan.list_narrow()]
        stack.enter_context(narrowed(alone, pos, count))
        stack.enter_context(applied(structure, edits, 0, count))
        residuals = torch.stack([run.recording.residual(block, count) for block in blocks])
        token_ids = torch.tensor(run.token_ids[:count])
        rerun_blocks(structure, blocks, token_ids.to(loaded.device), residuals.to(loaded.device), capture)
    with torch.inference_mode(), computing(len(blocks), "reading", is_step=False):
        return [read_block(run, plan, capture, pos) for plan in plans]


def read_block(run: Run, plan: BlockPlan, capture: Capture, pos: int) -> BlockRow:
    """One block of a capture at a position."""
    block = plan.block
    values = {
        address: take_row(capture.values[address], pos) for address in plan.wanted if address != f"v.{block}"
    }
    values[f"resid_pre.{block}"] = run.recording.residual(block)[pos : pos + 1].clone()
    operands = RowOperands(run.loaded.structure, values)
    heads, refused = read_heads(run, plan, operands, capture.calls.get(block), pos)
    return BlockRow(values, heads, refused)


def take_row(value: Tensor, pos: int) -> Tensor:
    """One position of a captured site, on the host: [1, feature] or [head, 1, d_head].

    A site of a narrowed module has no other.
    """
    pos = 0 if value.shape[-2] == 1 else pos
    return value[..., pos : pos + 1, :].to("cpu", torch.float32, copy=True)
