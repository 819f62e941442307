"""Making any site of a recording: one block's own module, run again on its stored residual.

Costs one block's forward for all sites of that block (0.12 s at 1024 tokens of a 134M model, where a whole forward
takes 2.6 s). Scores and probabilities are formed from q and k for the heads and rows asked for, so no array of
heads x T x T exists unless someone asks for all of it, and then only the one that is handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.capture.rerun import rerun_block
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.computing import computing
from glassformer.errors import ModelFailed
from glassformer.protocol.address import split_address
from glassformer.structure.structure import Structure
from glassformer.tiles.level import Region

# Formed from q and k when asked for.
PATTERNS = ("attn_scores", "attn_probs")
# Cells of a pattern formed at once, 8 MiB: what comes between stays near the processor. All twelve heads at once take
# 2.3 times as long at 2048 positions, most of it for memory that is asked for and given back.
PATTERN_CELLS = 2**21


@dataclass(frozen=True, slots=True)
class BlockSites:
    """The sites of one block for the first `positions` positions, on the host.

    `difference` is the largest difference between the block's output here and the residual that was recorded after
    it: zero where the run was one forward, rounding where it was decoded token by token.
    """

    positions: int
    values: dict[str, Tensor]
    call: AttentionCall | None
    rotary: tuple[Tensor, Tensor] | None
    difference: float

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors held, those that share their memory once."""
        held = [*self.values.values(), *(self.rotary or ())]
        if self.call is not None:
            held += [self.call.query, self.call.key, self.call.value]
            held += [] if self.call.mask is None else [self.call.mask]
        storages = (tensor.untyped_storage() for tensor in held)
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def materialise_block(
    structure: Structure,
    block: int,
    addresses: list[str],
    token_ids: Tensor,
    residual: Tensor,
    following: Tensor,
    *,
    into_next: Callable[[Tensor], Tensor],
) -> BlockSites:
    """Run block `block` again on `residual` [pos, d_model]; `following` is what was recorded after it.

    `into_next` gives what the next block reads of what this one leaves. The caller holds the model's lock.
    """
    capture = Capture(structure, addresses)
    device = structure.model.device
    rerun_block(structure, block, token_ids.to(device), residual.to(device), capture)
    values = {address: value.to("cpu", torch.float32) for address, value in capture.values.items()}
    call = capture.calls.get(block)
    if call is not None:
        call = call.widened("cpu")
    after = values.get(f"resid_post.{block}")
    difference = 0.0 if after is None else float((into_next(after) - following).abs().max())
    tables = capture.rotary.get(block)
    rotary = None if tables is None else (tables[0].cpu().float(), tables[1].cpu().float())
    return BlockSites(residual.shape[0], values, call, rotary, difference)


def check_whole(sites: BlockSites, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Hold what a block gave against the shape of every site asked for. Raises ModelFailed: half a site is none."""
    for address, shape in shapes.items():
        value = sites.values.get(address)
        is_formed = sites.call is not None and split_address(address)[0] in PATTERNS
        found = None if value is None else tuple(value.shape)
        if found != shape and not (value is None and is_formed):
            raise ModelFailed(
                f"{address} came out with the shape {found} where {shape} was asked for.", field="address"
            )


def form_pattern(call: AttentionCall, point: str, where: Region) -> Tensor:
    """Scores (`attn_scores`) or probabilities (`attn_probs`) of a region, [head, query, key], a few rows at a time."""
    heads, rows, keys = where
    form = call.scores if point == "attn_scores" else call.probabilities
    row_cells = max(1, call.key.shape[1])
    row_count = max(1, min(rows.stop - rows.start, PATTERN_CELLS // row_cells))
    head_count = max(1, PATTERN_CELLS // (row_cells * row_count))
    formed = torch.empty([part.stop - part.start for part in where])
    with computing(rows.stop - rows.start, "pattern"):
        for head in range(heads.start, heads.stop, head_count):
            some_heads = slice(head, min(head + head_count, heads.stop))
            for row in range(rows.start, rows.stop, row_count):
                some_rows = slice(row, min(row + row_count, rows.stop))
                place = shift(some_heads, -heads.start), shift(some_rows, -rows.start)
                formed[place] = form(some_rows, some_heads)[..., keys]
    return formed


def shift(part: slice, count: int) -> slice:
    """The same run of indices, `count` further on."""
    return slice(part.start + count, part.stop + count)
