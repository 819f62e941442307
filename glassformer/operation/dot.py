"""Dot: each query with each key of the head that it shares (Vaswani et al. 2017; Ainslie et al. 2023)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glassformer.compute.attention_call import compute_scores
from glassformer.operation.bounded import Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell
from glassformer.operation.formula import PAIR, add_up
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import find_kv_head, read_row, site_of
from glassformer.operation.term import Addend, number, operand_of


class Dot(Operation):
    def whole(self, inputs: Inputs) -> Tensor:
        return compute_scores(inputs.whole(0), inputs.whole(1), mask=None, scaling=1.0)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        query, key = inputs.bound(0, rounding), inputs.bound(1, rounding)
        groups = query.value.shape[0] // key.value.shape[0]
        key = key.map(lambda tensor: tensor.repeat_interleave(groups, dim=0).transpose(1, 2))
        value = query.value @ key.value
        error = sum_unit(query.value.shape[-1] + 2) * (query.value.abs() @ key.value.abs())
        error = error + query.error @ (key.value.abs() + key.error) + query.value.abs() @ key.error
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        head, query, key = index
        first, second = site_of(inputs.given(0)), site_of(inputs.given(1))
        kv_head = find_kv_head(inputs.operands, head, first, second)
        q = read_row(inputs.operands, first.address, [head, query])
        k = read_row(inputs.operands, second.address, [kv_head, key])
        products = (q * k).tolist()
        terms = [
            Addend(
                f"feature {j}",
                products[j],
                (
                    operand_of("site", first.address, [head, query, j], float(q[j])),
                    operand_of("site", second.address, [kv_head, key, j], float(k[j])),
                ),
                PAIR,
            )
            for j in range(len(q))
        ]
        total = add_up(products)
        return Cell(total, terms, rf"{number(total)} = \sum_d q_d k_d")

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"{parts[0]} \cdot {parts[1]}"
