"""One block on the way back from the logit: what each of its parts adds, and what the stream before it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer.errors import UnknownAddress
from glassformer.operation.inputs import NotLinear
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput
from glassformer.reading.flow import Change, RowOperands, find_change, has_operation
from glassformer.reading.part_list import Parts
from glassformer.reading.plan import ALONG, HEADLESS, find_block, find_equation, find_fault
from glassformer.reading.position import PositionRows

if TYPE_CHECKING:
    from glassformer.run.run import Run


class Passage:
    """A block at one position. A `worth` is what a change of a row is worth to the logit, in each of its cells."""

    def __init__(self, run: Run, rows: PositionRows, block: int, found: Parts) -> None:
        self._run, self._rows, self._block, self._found = run, rows, block, found
        self._structure = run.loaded.structure
        self._values = rows.blocks[block].values
        self._operands = RowOperands(self._structure, self._values)
        self._parts = Parts()
        self._before = torch.zeros_like(rows.stream[block][None], dtype=torch.float64)
        self._has_heads = find_block(run, block).kind not in HEADLESS

    def go_back(self, worth: Tensor, total: float) -> Tensor:
        """Add what the block's parts add; gives what the stream before it is worth.

        `worth` is that of what the block leaves, and `total` what that comes to. Where no equation says how the block
        writes, its parts are what the stream gained in its two halves.
        """
        equation = find_equation(self._run, f"resid_post.{self._block}")
        try:
            if equation is None:
                raise NotLinear("how this block writes to the stream is not known here")
            self._follow(EquationInput(equation=equation), worth)
        except (NotLinear, UnknownAddress) as error:
            self._parts, self._before = Parts(), torch.zeros_like(worth)
            self._take_gains(worth, total, str(error))
        self._found.merge(self._parts)
        return self._before

    def _address(self, point: str) -> str:
        return f"{point}.{self._block}"

    def _add(self, kind: str, value: float, number: int | None = None) -> None:
        self._parts.add(kind, value, self._block, number)

    def _take_gains(self, worth: Tensor, total: float, reason: str) -> None:
        """What the stream gained in the block: in each half where it is known between them, else as one."""
        self._parts.refuse(f"{reason}: what the stream gained is all that can be told", block=self._block)
        middle = self._values.get(self._address("resid_mid"))
        if middle is None:
            self._add("mixer", total - weigh(worth, self._rows.stream[self._block][None]))
            self._before = worth
            return
        self._add("mlp", total - weigh(worth, middle))
        try:
            self._pass_along(self._address("resid_mid"), worth)
        except (NotLinear, UnknownAddress):
            self._parts.keep("mlp")
            self._before = torch.zeros_like(worth)
            self._gain_middle(worth, middle)

    def _gain_middle(self, worth: Tensor, middle: Tensor) -> None:
        self._add("mixer", weigh(worth, middle) - weigh(worth, self._rows.stream[self._block][None]))
        self._before = self._before + worth

    # --- along the equations -----------------------------------------------------------------------------

    def _follow(self, given: Input, worth: Tensor) -> None:
        if isinstance(given, SiteInput):
            self._arrive(given.address, worth)
        elif isinstance(given, EquationInput):
            pulled = self._operands.pull(given.equation, worth)
            if pulled.own:
                self._add("bias", pulled.own)
            for at, each in pulled.worths.items():
                self._follow(given.equation.inputs[at], each)

    def _arrive(self, address: str, worth: Tensor) -> None:
        point = address.partition(".")[0]
        if point == "resid_pre":
            self._before = self._before + worth
        elif point in ALONG:
            self._pass_along(address, worth)
        elif point == "attn_out":
            self._split_heads(worth)
        elif point == "mlp_out":
            self._split_mlp(worth)
        elif point == "shared_out":
            self._add("mlp", weigh(worth, self._operands.site(address)))
        else:
            raise NotLinear(f"what {address} has to do with the stream is not known here")

    def _pass_along(self, address: str, worth: Tensor) -> None:
        equation = find_equation(self._run, address)
        if equation is not None:
            self._follow(EquationInput(equation=equation), worth)
            return
        # More than attention may have written to it.
        self._gain_middle(worth, self._operands.site(address))
        if self._has_heads:
            self._parts.refuse(f"how {address} is computed is not known here", "head", self._block)

    # --- what mixes positions ------------------------------------------------------------------------------

    def _split_heads(self, worth: Tensor) -> None:
        address = self._address("attn_out")
        equation, row = find_equation(self._run, address), self._operands.site(address)
        mixed = self._values.get(self._address("z"))
        if not self._has_heads or equation is None or mixed is None:
            self._add("mixer", weigh(worth, row))
            if self._has_heads:
                fault = find_fault(self._run, self._block, "z")
                self._parts.refuse(
                    fault or f"how {address} is computed is not known here", "head", self._block
                )
            return
        change = self._find_change(address, row)
        if change is not None:
            worth = worth * change.factor
        mixed_worth, own = self._pull_back(equation, worth)
        if own:
            self._add("bias", own)
        for head, value in enumerate((mixed_worth * mixed).sum((1, 2)).tolist()):
            self._add("head", value, head)

    def _pull_back(self, equation: Equation, worth: Tensor) -> tuple[Tensor, float]:
        """What a change of what heads mix is worth, [head, 1, d_head], and what is added on the way from there.

        A matrix that an adapter changes is a way of two branches.
        """
        pulled = self._operands.pull(equation, worth)
        back, own = torch.zeros((), dtype=worth.dtype), pulled.own
        for at in pulled.worths if equation.operation == "add" else [0]:
            source, each = equation.inputs[at], pulled.worths[at]
            if isinstance(source, EquationInput):
                each, more = self._pull_back(source.equation, each)
                own += more
            back = back + each
        return back, own

    def _find_change(self, address: str, row: Tensor) -> Change | None:
        width = row.shape[-1]
        return find_change(self._structure, self._run.interventions, address, width, self._rows.position)

    # --- what works on each position alone -------------------------------------------------------------------

    def _split_mlp(self, worth: Tensor) -> None:
        address = self._address("mlp_out")
        equation, row = find_equation(self._run, address), self._operands.site(address)
        if equation is None or not has_operation(equation, "sum_experts"):
            self._add("mlp", weigh(worth, row))
            if self._structure.experts(self._block) is not None:
                self._parts.refuse(f"how {address} is computed is not known here", "expert", self._block)
            return
        change = self._find_change(address, row)
        self._split_experts(
            EquationInput(equation=equation), worth if change is None else worth * change.factor
        )

    def _split_experts(self, given: Input, worth: Tensor) -> None:
        if not isinstance(given, EquationInput) or not has_operation(given.equation, "sum_experts"):
            # A dense branch beside the experts, with its gate.
            self._add("mlp", weigh(worth, self._operands.whole(given)))
        elif given.equation.operation == "sum_experts":
            self._weigh_experts(given.equation, worth)
        else:
            pulled = self._operands.pull(given.equation, worth)
            for at, each in pulled.worths.items():
                self._split_experts(given.equation.inputs[at], each)

    def _weigh_experts(self, equation: Equation, worth: Tensor) -> None:
        row, weights = (self._operands.whole(given) for given in equation.inputs)
        chosen = weights[0].nonzero()
        if not len(chosen):
            return
        written = self._operands.run_module(
            str(equation.attributes["module"]),
            row.expand(len(chosen), -1),
            chosen,
            weights[0][chosen],
        )
        values = (written.to(worth) * worth).sum(-1).tolist()
        for expert, value in zip(chosen[:, 0].tolist(), values, strict=True):
            self._add("expert", value, expert)


def weigh(worth: Tensor, row: Tensor) -> float:
    """What a row comes to."""
    return float((worth * row.to(worth)).sum())
