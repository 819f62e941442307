"""Softcap: numbers bent so that none passes a limit (Gemma Team 2024, section 2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import TOTAL, named, product
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.term import number, significant
from glassformer.protocol.explanation import FunctionPart


class Softcap(Operation):
    """`cap` times the hyperbolic tangent of a number over `cap`."""

    def whole(self, inputs: Inputs) -> Tensor:
        cap = float(inputs.attributes["cap"])
        return cap * torch.tanh(inputs.whole(0) / cap)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x, cap = inputs.bound(0, rounding), float(inputs.attributes["cap"])
        share = rounding.stored(x.value / cap, x.error / cap + SUM_UNIT * (x.value / cap).abs())
        bent = torch.tanh(share.value)
        slope = 1 - torch.tanh((share.value.abs() - share.error).clamp(min=0)).square()
        found = rounding.stored(bent, slope * share.error + 8 * SUM_UNIT * bent.abs())
        return rounding.stored(found.value * cap, found.error * cap + SUM_UNIT * (found.value * cap).abs())

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        inner, cap = inputs.cell(0, index), float(inputs.attributes["cap"])
        value, limit = cap * math.tanh(inner.value / cap), named(cap, "cap")
        below = rf"\frac{{{number(inner.value)}}}{{{number(cap)}}}"
        latex = rf"{number(value)} = {number(cap)}\tanh\left({below}\right)"
        bent = FunctionPart(function="tanh", of=product([inner.result or TOTAL], [limit]))
        note = f"The terms sum to {significant(inner.value)}, before the soft cap."
        return Cell(value, inner.terms, latex, note, product([limit, bent]))

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        cap = f"{float(attributes['cap']):.4g}"
        return rf"{cap}\tanh\left(\frac{{{parts[0]}}}{{{cap}}}\right)"
