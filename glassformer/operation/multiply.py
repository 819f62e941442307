"""Multiply: two tensors, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import bracket
from glassformer.operation.inputs import Inputs, Operation, Pulled
from glassformer.operation.term import number, scaled


class Multiply(Operation):
    """`broadcast` says that the second has one value for a whole row."""

    def whole(self, inputs: Inputs) -> Tensor:
        return inputs.whole(0) * inputs.whole(1)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        first, second = inputs.bound(0, rounding), inputs.bound(1, rounding)
        value = first.value * second.value
        error = first.error * (second.value.abs() + second.error) + first.value.abs() * second.error
        return rounding.stored(value, error + SUM_UNIT * value.abs())

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        one_each = [*index[:-1], 0] if inputs.attributes.get("broadcast") else index
        first, second = inputs.cell(0, index), inputs.cell(1, one_each)
        value = first.value * second.value
        shown = first.latex.split(" = ")[-1]
        latex = rf"{number(value)} = {shown} \cdot {bracket(number(second.value))}"
        # One of the two is a factor of every term of the other.
        many, one = (second, first) if second.is_sum and not first.is_sum else (first, second)
        factor = one.as_one("factor")
        terms = many.terms if many.is_sum else [replace(many.as_one("product"), label="product")]
        return Cell(
            value, scaled(terms, factor.contribution, factor.formula, operands=factor.operands), latex
        )

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        return Pulled({0: worth * inputs.whole(1).to(worth)})

    def push(self, inputs: Inputs, rows: Tensor) -> Tensor:
        return rows * inputs.whole(1).to(rows)

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        if inputs.attributes.get("broadcast"):
            return super().row(inputs, index)
        return inputs.row(0, index) * inputs.row(1, index)

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return r" \odot ".join(parts)
