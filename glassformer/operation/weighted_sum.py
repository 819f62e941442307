"""Weighted sum: values of all keys, each as much as a query attends to it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glassformer.operation.bounded import Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell
from glassformer.operation.formula import PAIR, add_up
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import find_kv_head, site_of
from glassformer.operation.term import Addend, number, operand_of


class WeightedSum(Operation):
    def whole(self, inputs: Inputs) -> Tensor:
        probabilities, value = inputs.whole(0), inputs.whole(1)
        groups = probabilities.shape[0] // value.shape[0]
        return probabilities @ value.to(probabilities.dtype).repeat_interleave(groups, dim=0)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        weights, values = inputs.bound(0, rounding), inputs.bound(1, rounding)
        if rounding.is_fused:
            weights = rounding.stored(weights.value, weights.error)
        groups = weights.value.shape[0] // values.value.shape[0]
        values = values.map(lambda tensor: tensor.repeat_interleave(groups, dim=0))
        value = weights.value @ values.value
        error = sum_unit(weights.value.shape[-1] + 2) * (weights.value @ values.value.abs())
        error = error + weights.error @ (values.value.abs() + values.error) + weights.value @ values.error
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        head, pos, feature = index
        first, second = site_of(inputs.given(0)), site_of(inputs.given(1))
        kv_head = find_kv_head(inputs.operands, head, first, second)
        weights = inputs.row(0, [head, pos])
        column = (slice(kv_head, kv_head + 1), slice(0, len(weights)), slice(feature, feature + 1))
        values = inputs.operands.site(second.address, column).double().cpu().reshape(-1)
        products = (weights * values).tolist()
        terms = [
            Addend(
                f"key {j}",
                products[j],
                (
                    operand_of("site", first.address, [head, pos, j], float(weights[j])),
                    operand_of("site", second.address, [kv_head, j, feature], float(values[j])),
                ),
                PAIR,
            )
            for j in range(len(weights))
            # Later keys are only seen where the model's own mask lets them be.
            if j <= pos or float(weights[j]) != 0.0
        ]
        total = add_up(products)
        return Cell(total, terms, rf"{number(total)} = \sum_j a_j v_j")

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        head, pos = index
        second = site_of(inputs.given(1))
        weights = inputs.row(0, [head, pos])
        kv_head = find_kv_head(inputs.operands, head, inputs.given(0), second)
        width = inputs.operands.shape(second.address)[2]
        region = (slice(kv_head, kv_head + 1), slice(0, len(weights)), slice(0, width))
        return weights @ inputs.operands.site(second.address, region)[0].double().cpu()

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"\sum_j {parts[0]}_{{j}}\,{parts[1]}_{{j}}"
