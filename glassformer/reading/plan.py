"""Which sites of a block say what it writes and what its heads read, by the equations that hold there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from glassformer.operation.equation import list_inputs, put_in
from glassformer.protocol.anatomy import Block, Equation, EquationInput, Input
from glassformer.reading.flow import find_addend, has_operation
from glassformer.run.intervention import inside_block
from glassformer.structure.changed import PREFIX
from glassformer.structure.role import Refusal

if TYPE_CHECKING:
    from glassformer.run.run import Run

# Kinds of blocks whose positions are mixed by something else than heads of attention.
HEADLESS = ("linear", "none")
# How a value reaches the stream: what heads mix, what they write, and what of that is added.
Path = tuple[Input, Input, Input]
# Sites on the way of the stream through a block.
ALONG = ("resid_mid", "mlp_in", "attn_in")


def find_equation(run: Run, address: str) -> Equation | None:
    """How a site is computed, where that was found to hold. Checks the site, if it has not been checked.

    What an adapter's A makes on the way is written out, so that both ways through a changed matrix are one.
    """
    site = run.find_site(address)
    if site is None or site.check.status == "refused" or site.equation is None:
        return None
    low = [source for source in list_inputs(site.equation) if source.startswith(PREFIX)]
    known = {source: equation for source in low if (equation := find_equation(run, source)) is not None}
    return put_in(site.equation, known) if known else site.equation


def find_fault(run: Run, block: int, *points: str) -> str | None:
    """Why one of these points of a block is not shown; None where all are."""
    for point in points:
        site = run.find_site(f"{point}.{block}")
        if site is None:
            return f"this block has no {point}"
        if site.check.status == "refused":
            return f"{site.address} is refused: {site.check.reason}"
    return None


def find_block(run: Run, block: int) -> Block:
    """A block's facts."""
    anatomy = run.loaded.anatomy
    assert anatomy is not None
    return anatomy.blocks[block]


class BlockPlan:
    """The sites of a block that a reading needs, in `wanted`. Checks the block, if it has not been checked.

    `fault` says why what its heads read cannot be told, None where it can; then there is a `path`.
    """

    def __init__(self, run: Run, block: int) -> None:
        self._run = run
        self.block = block
        self.wanted: set[str] = set()
        if self._find(f"resid_post.{block}") is None:
            self._want(f"resid_mid.{block}")
            self._want_stream(f"resid_mid.{block}")
        self._want_stream(f"resid_post.{block}")
        self.has_heads = find_block(run, block).kind not in HEADLESS
        self.path: Path | None = None
        # What each position brings is told from the keys and values that the tap sees.
        seen = () if run.loaded.structure.untapped is None else ("attn_scores",)
        self.fault = find_fault(run, block, "attn_probs", "v", "z", *seen)
        if self.has_heads and self.fault is None:
            self.path = self._find_path()
            if self.path is None:
                self.fault = "how its heads reach the stream is not known here"
            else:
                self.wanted.add(f"v.{block}")

    def list_narrow(self) -> list[nn.Module]:
        """The modules of the block that work on each position alone, as its equations say: one row of them is enough.

        None where interventions act inside the block.
        """
        structure = self._run.loaded.structure
        if inside_block(self._run.interventions, self.block):
            return []
        found: list[nn.Module | None] = []
        out = structure.attention_out(self.block)
        if self.path is not None and not isinstance(out, Refusal):
            found.append(out.module)
        if self._is_known(f"mlp_out.{self.block}"):
            found.append(structure.feed_forward(self.block))
        return [module for module in found if module is not None]

    def _is_known(self, address: str) -> bool:
        """Whether equations lead from the MLP's input to a site; a branch beside experts is taken to be like them."""
        if address.partition(".")[0] in ("mlp_in", "shared_out"):
            return True
        equation = self._find(address)
        return equation is not None and all(self._is_known(source) for source in list_inputs(equation))

    def _find(self, address: str) -> Equation | None:
        return find_equation(self._run, address)

    def _want(self, address: str) -> None:
        if find_fault(self._run, self.block, address.partition(".")[0]) is None:
            self.wanted.add(address)

    def _want_stream(self, address: str) -> None:
        equation = self._find(address)
        for source in [] if equation is None else list_inputs(equation):
            point = source.partition(".")[0]
            if point in ("resid_pre", "resid_post") or source in self.wanted:
                continue
            self._want(source)
            if point in ALONG:
                self._want_stream(source)
            elif point == "attn_out":
                self._want(f"z.{self.block}")
                self._want_inputs(f"z.{self.block}")
            elif point == "mlp_out" and self.has_experts:
                self._want_inputs(source)

    def _want_inputs(self, address: str) -> None:
        equation = self._find(address)
        for source in [] if equation is None else list_inputs(equation):
            if source.partition(".")[0] not in ("attn_probs", "v"):
                self._want(source)

    @property
    def has_experts(self) -> bool:
        """Whether the experts of the block are known one by one."""
        written = self._find(f"mlp_out.{self.block}")
        return written is not None and has_operation(written, "sum_experts")

    def _find_path(self) -> Path | None:
        mixed, out = self._find(f"z.{self.block}"), self._find(f"attn_out.{self.block}")
        if mixed is None or out is None:
            return None
        for address in (f"resid_mid.{self.block}", f"mlp_in.{self.block}", f"resid_post.{self.block}"):
            equation = self._find(address)
            addend = None if equation is None else find_addend(equation, f"attn_out.{self.block}")
            if addend is not None:
                return EquationInput(equation=mixed), EquationInput(equation=out), addend
        return None
