"""What the heads of a block read at one position, and how much each position brings to the stream through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from glassformer.compute.attention_call import AttentionCall
from glassformer.errors import UnknownAddress
from glassformer.operation.inputs import NotLinear
from glassformer.protocol.reading import HeadReads, RefusedPiece
from glassformer.reading.flow import RowOperands, find_change
from glassformer.reading.plan import BlockPlan, Path
from glassformer.reading.shorten import shorten

if TYPE_CHECKING:
    from glassformer.run.run import Run

# Positions that are told of a head.
MOST_READ = 32
# Cells of what positions bring, formed at once: 16 MiB.
BROUGHT_CELLS = 2**22


def read_heads(
    run: Run, plan: BlockPlan, operands: RowOperands, call: AttentionCall | None, pos: int
) -> tuple[list[HeadReads], list[RefusedPiece]]:
    """For each head the positions that carry most; none with the reason, where they cannot be told apart."""
    block = plan.block
    if not plan.has_heads:
        return [], []
    if plan.path is None or call is None:
        return [], [refuse(block, plan.fault or "its attention was not seen to run")]
    wide = call.widened()
    weights = wide.probabilities(slice(pos, pos + 1))
    value = wide.value.repeat_interleave(len(weights) // len(wide.value), dim=0)
    seen = {f"attn_probs.{block}": weights, f"v.{block}": value}
    try:
        sizes = measure_brought(run, block, plan.path, operands.with_values(seen), value, pos)
    except (NotLinear, UnknownAddress) as error:
        return [], [refuse(block, f"what one position brings cannot be told apart: {error}")]
    return choose_read(block, weights[:, 0], weights[:, 0] * sizes), []


def refuse(block: int, reason: str) -> RefusedPiece:
    return RefusedPiece(piece="attention", block=block, reason=reason)


def choose_read(block: int, weights: Tensor, carried: Tensor) -> list[HeadReads]:
    """The positions that carry most, in order of the text, from [head, key] each."""
    count = min(MOST_READ, weights.shape[1])
    places = carried.topk(count, dim=-1).indices.sort(dim=-1).values
    shown = shorten(weights.gather(-1, places)), shorten(carried.gather(-1, places))
    return [
        HeadReads(block=block, head=head, positions=positions, weights=each, carried=brings)
        for head, (positions, each, brings) in enumerate(zip(places.tolist(), *shown, strict=True))
    ]


def measure_brought(
    run: Run, block: int, path: Path, operands: RowOperands, value: Tensor, pos: int
) -> Tensor:
    """How much each position's value is in the stream where a head gives it all of its weight, [head, key].

    `value` is [head, key, d_head]. It goes as the head's part of the sum does: through gates, the head's slice of the
    output projection, norms with their size as it was, and multipliers.
    """
    mixed, out, addend = path
    structure, address = run.loaded.structure, f"attn_out.{block}"
    heads, keys, width = value.shape
    changed_mix = find_change(structure, run.interventions, f"z.{block}", heads * width, pos)
    changed_out = find_change(structure, run.interventions, address, structure.arch.d_model, pos)
    sizes = value.new_empty(heads, keys)
    count = max(1, BROUGHT_CELLS // (heads * structure.arch.d_model))
    for first in range(0, keys, count):
        some = slice(first, first + count)
        rows = operands.push(mixed, value[:, some], "weighted_sum")
        if changed_mix is not None:
            rows = rows * changed_mix.by_heads(heads).to(rows)
        rows = operands.push(out, rows, f"z.{block}")
        if changed_out is not None:
            rows = rows * changed_out.factor.to(rows)
        sizes[:, some] = operands.push(addend, rows, address).norm(dim=-1)
    return sizes
