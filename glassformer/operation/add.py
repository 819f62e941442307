"""Add: the sum of several tensors of one shape."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import add_up, bracket
from glassformer.operation.inputs import Inputs, Operation, Pulled
from glassformer.operation.term import Addend, number
from glassformer.protocol.anatomy import EquationInput


class Add(Operation):
    def whole(self, inputs: Inputs) -> Tensor:
        total = inputs.whole(0)
        for at in range(1, inputs.count):
            total = total + inputs.whole(at)
        return total

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        parts = [inputs.bound(at, rounding) for at in range(inputs.count)]
        if len(parts) == 1:
            return parts[0]
        value, error = parts[0].value, parts[0].error
        for part in parts[1:]:
            value, error = value + part.value, error + part.error
        error = error + SUM_UNIT * value.abs()
        if len(parts) > 2:
            # What is stored on the way depends on the order, which nobody told.
            pairs = [(one.value + other.value).abs() for one, other in combinations(parts, 2)]
            largest = pairs[0]
            for pair in pairs[1:]:
                largest = largest.maximum(pair)
            error = error + (len(parts) - 2) * (rounding.unit * largest + rounding.smallest)
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        cells = [inputs.cell(at, index) for at in range(inputs.count)]
        total = add_up([cell.value for cell in cells])
        terms: list[Addend] = []
        for at, cell in enumerate(cells):
            given = inputs.given(at)
            name = given.equation.operation if isinstance(given, EquationInput) else "part"
            terms += cell.terms if cell.result is None else [cell.as_one(name)]
        body = " + ".join(bracket(number(cell.value)) for cell in cells)
        return Cell(total, terms, f"{number(total)} = {body}")

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        return Pulled(dict.fromkeys(range(inputs.count), worth))

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        total = inputs.row(0, index)
        for at in range(1, inputs.count):
            total = total + inputs.row(at, index)
        return total

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return " + ".join(parts)
