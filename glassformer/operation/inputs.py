"""What one equation is computed from, read as an operation needs it: whole, with bounds, or a cell at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.cell import Cell, cell_of
from glassformer.operation.operands import Operands, read_cell, read_row
from glassformer.operation.term import distinct, operand_of
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput
from glassformer.protocol.explanation import Operand


class NotLinear(Exception):
    """What an operation gives cannot be told apart into what each of its inputs adds."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What inputs are worth, by their place among the inputs, and what the operation adds of its own."""

    worths: dict[int, Tensor]
    own: float = 0.0


class Operation(ABC):
    """One of the closed set. Shapes follow the sites: [pos, feature], [head, pos, d_head], [head, query, key]."""

    @abstractmethod
    def whole(self, inputs: Inputs) -> Tensor:
        """The whole tensor, in the format of its operands, as a model would compute it."""

    @abstractmethod
    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        """The whole tensor in a wide format, with a bound of how far the model's own may be from it."""

    @abstractmethod
    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        """One cell in float64: its value, its terms with their formulas, and how it reads with numbers."""

    @abstractmethod
    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        """The equation in the notation of textbooks; `parts` are its inputs'."""

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        """What a change of each input is worth, if a change of the result is worth `worth` in each of its cells.

        Exact for what is linear; the size of a norm and the second factor of a product are taken as they are. Made for
        operands of one row. Raises NotLinear for every operation that does not say so.
        """
        raise NotLinear(type(self).__name__)

    def push(self, inputs: Inputs, rows: Tensor) -> Tensor:
        """What other rows [..., feature] in the place of the first input's one would add to the result.

        Linear in them as `pull` is: constants are left out. Where heads are merged, rows [head, n, d_head] each bring
        what their head alone does, [head, n, feature].
        """
        raise NotLinear(type(self).__name__)

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        """All cells along the last axis at `index`, which leaves that axis out; float64."""
        width = len(inputs.row(0, index))
        values = [self.cell(inputs, [*index, j]).value for j in range(width)]
        return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs and constants of one equation. `operations` computes what is nested in it."""

    equation: Equation
    operands: Operands
    operations: Mapping[str, Operation]

    @property
    def attributes(self) -> dict[str, Any]:
        return self.equation.attributes

    @property
    def count(self) -> int:
        return len(self.equation.inputs)

    def given(self, at: int) -> Input:
        return self.equation.inputs[at]

    def nested(self, given: EquationInput) -> tuple[Operation, Inputs]:
        inner = given.equation
        return self.operations[inner.operation], Inputs(inner, self.operands, self.operations)

    def whole(self, at: int) -> Tensor:
        """All of an input, in its own format; a weight as it is stored."""
        given = self.given(at)
        if isinstance(given, SiteInput):
            return self.operands.site(given.address)
        if isinstance(given, EquationInput):
            operation, inputs = self.nested(given)
            return operation.whole(inputs)
        return self.operands.weight(given.name)

    def bound(self, at: int, rounding: Rounding) -> Bounded:
        """All of an input with its bound: none for what the model itself was given."""
        given = self.given(at)
        if isinstance(given, EquationInput):
            operation, inputs = self.nested(given)
            return operation.bound(inputs, rounding)
        return rounding.exact(self.whole(at))

    def cell(self, at: int, index: list[int]) -> Cell:
        """One cell of an input, as a single term where it is a site or a weight."""
        given = self.given(at)
        if isinstance(given, EquationInput):
            operation, inputs = self.nested(given)
            return explain_with(operation, inputs, index)
        return cell_of(*self.read(at, index))

    def row(self, at: int, index: list[int]) -> Tensor:
        """All values along the last axis of a site or an equation at `index`, which leaves that axis out; float64."""
        given = self.given(at)
        if isinstance(given, EquationInput):
            operation, inputs = self.nested(given)
            return operation.row(inputs, index)
        assert isinstance(given, SiteInput)
        return read_row(self.operands, given.address, index)

    def read(self, at: int, index: list[int]) -> tuple[Operand, float]:
        """One cell of a site or a weight, and its value, which the message leaves out where it is not finite."""
        given = self.given(at)
        assert not isinstance(given, EquationInput)
        if isinstance(given, SiteInput):
            value = read_cell(self.operands, given.address, index)
            return operand_of("site", given.address, index, value), value
        stored = [index[0] + (given.start or 0), *index[1:]]
        value = float(self.operands.weight(given.name)[tuple(stored)])
        return operand_of("weight", given.name, stored, value), value


def explain_with(operation: Operation, inputs: Inputs, index: list[int]) -> Cell:
    """One cell, none of its terms labelled as another is."""
    cell = operation.cell(inputs, index)
    cell.terms = distinct(cell.terms)
    return cell
