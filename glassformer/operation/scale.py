"""Scale: a tensor times one number that the model declares."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import bracket, named, times
from glassformer.operation.inputs import Inputs, Operation, Pulled
from glassformer.operation.term import number, scaled


class Scale(Operation):
    """`factor`; None while it is left open for a check to find (`equation.find_open`)."""

    def whole(self, inputs: Inputs) -> Tensor:
        return inputs.whole(0) * float(inputs.attributes["factor"])

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x, factor = inputs.bound(0, rounding), float(inputs.attributes["factor"])
        value = x.value * factor
        # The model may hold the number itself in the format of its tensors.
        error = x.error * abs(factor) + (rounding.unit + SUM_UNIT) * value.abs()
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        inner = inputs.cell(0, index)
        factor = float(inputs.attributes["factor"])
        value, scale = factor * inner.value, named(factor, "scale")
        latex = rf"{number(value)} = {number(factor)} \cdot {bracket(number(inner.value))}"
        if inner.result is not None:
            return Cell(value, inner.terms, latex, inner.note, times(inner.result, scale))
        return Cell(value, scaled(inner.terms, factor, scale), latex, inner.note)

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        return Pulled({0: worth * float(inputs.attributes["factor"])})

    def push(self, inputs: Inputs, rows: Tensor) -> Tensor:
        return rows * float(inputs.attributes["factor"])

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        return inputs.row(0, index) * float(inputs.attributes["factor"])

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"{float(attributes['factor']):.4g}\,\left({parts[0]}\right)"
