"""How what a block writes reaches the residual stream at one position, with the sizes of norms as they were.

The anatomy's own equations are followed, so that nothing here is written for a family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glassformer.capture.model_operands import ModelOperands
from glassformer.errors import UnknownAddress
from glassformer.operation.closed_set import OPERATIONS
from glassformer.operation.equation import list_inputs
from glassformer.operation.inputs import Inputs, NotLinear, Pulled
from glassformer.operation.operands import Region
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput
from glassformer.protocol.messages import Intervention
from glassformer.run.intervention import make_edits
from glassformer.structure.structure import Structure


class RowOperands(ModelOperands):
    """The operands of equations at one position: every site has the one row, [1, feature] or [head, 1, d_head]."""

    def __init__(self, structure: Structure, values: Mapping[str, Tensor]) -> None:
        super().__init__(structure)
        self._values = dict(values)

    def with_values(self, values: Mapping[str, Tensor]) -> RowOperands:
        """The same with the rows of more sites."""
        return RowOperands(self._structure, {**self._values, **values})

    def site(self, address: str, region: Region = ()) -> Tensor:
        if address not in self._values:
            raise UnknownAddress(address)
        return self._values[address][region]

    def shape(self, address: str) -> tuple[int, ...]:
        return tuple(self.site(address).shape)

    def token_ids(self) -> Tensor:
        raise UnknownAddress("token_ids", "A block reads no token ids.")

    def first_positions(self) -> tuple[int, int]:
        raise UnknownAddress("positions", "A block looks no positions up.")

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        raise UnknownAddress("rotary", "A single row is not turned.")

    def mask(self, block: int, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        raise UnknownAddress("mask", "A single row has no mask.")

    def inputs(self, equation: Equation) -> Inputs:
        return Inputs(equation, self, OPERATIONS)

    def whole(self, given: Input) -> Tensor:
        """The row of a site or of a nested equation."""
        if isinstance(given, EquationInput):
            return OPERATIONS[given.equation.operation].whole(self.inputs(given.equation))
        assert isinstance(given, SiteInput)
        return self.site(given.address)

    def pull(self, equation: Equation, worth: Tensor) -> Pulled:
        """See `Operation.pull`."""
        return OPERATIONS[equation.operation].pull(self.inputs(equation), worth)

    def push(self, given: Input, rows: Tensor, stop: str) -> Tensor:
        """What `rows` in the place of the site or operation `stop`, which `given` begins with, bring to it."""
        if isinstance(given, SiteInput) and given.address == stop:
            return rows
        if not isinstance(given, EquationInput):
            raise NotLinear(f"it is not computed from {stop} alone")
        equation = given.equation
        if equation.operation == stop:
            return rows
        if equation.operation == "add":
            # As through a matrix and what an adapter adds to it.
            pushed = [self.push(part, rows, stop) for part in equation.inputs]
            return torch.stack(pushed).sum(0)
        before = self.push(equation.inputs[0], rows, stop)
        return OPERATIONS[equation.operation].push(self.inputs(equation), before)


def find_addend(equation: Equation, address: str) -> Input | None:
    """What is added to the stream by way of the site `address`: the addend of a sum that holds it."""
    for given in equation.inputs:
        if isinstance(given, SiteInput):
            if given.address == address and equation.operation == "add":
                return given
        elif isinstance(given, EquationInput) and address in list_inputs(given.equation):
            inner = find_addend(given.equation, address)
            if inner is not None:
                return inner
            return given if equation.operation == "add" else None
    return None


def has_operation(equation: Equation, operation: str) -> bool:
    """Whether an operation takes part in an equation."""
    nested = (given.equation for given in equation.inputs if isinstance(given, EquationInput))
    return equation.operation == operation or any(has_operation(inner, operation) for inner in nested)


@dataclass(frozen=True, slots=True)
class Change:
    """What interventions make of a row x at one site: `factor * x + shift`, cell by cell."""

    factor: Tensor
    shift: Tensor

    def by_heads(self, heads: int) -> Tensor:
        """The factor as [head, 1, d_head]."""
        return self.factor.view(heads, 1, -1)


def find_change(
    structure: Structure, interventions: Sequence[Intervention], address: str, width: int, pos: int
) -> Change | None:
    """What a run's interventions make of the row of a site at a position; None where they leave it alone."""
    wanted = [given for given in interventions if given.address == address]
    if not wanted:
        return None
    zero, one = torch.zeros(1, width, dtype=torch.float64), torch.ones(1, width, dtype=torch.float64)
    for edit in make_edits(structure, wanted):
        zero, one = edit.change(zero, pos, pos + 1), edit.change(one, pos, pos + 1)
    return Change(one - zero, zero)
