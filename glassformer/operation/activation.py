"""Activation: a function of each number alone, the block's own module or one by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import TOTAL
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.term import Addend, number
from glassformer.protocol.explanation import FunctionPart

# Activation functions that models apply without holding them as a module; the names are those of PyTorch's modules.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": torch.nn.functional.silu,
    "GELU": torch.nn.functional.gelu,
    "GELUTanh": partial(torch.nn.functional.gelu, approximate="tanh"),
    "ReLU": torch.relu,
    "ReLU2": lambda x: torch.relu(x).square(),
    "Sigmoid": torch.sigmoid,
    "Softplus": torch.nn.functional.softplus,
}
# Those that one kernel computes, which stores the result alone; all others store each of their steps.
FUSED = frozenset({*FUNCTIONS, "Tanh", "PytorchGELUTanh", "GELUActivation", "SiLUActivation"}) - {"ReLU2"}


class Activation(Operation):
    """`function` names it; with `block` it is the block's own module."""

    def whole(self, inputs: Inputs) -> Tensor:
        return _apply(inputs, inputs.whole(0))

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x = inputs.bound(0, rounding)
        value = _apply_wide(inputs, x.value)
        error = 8 * SUM_UNIT * (x.value.abs() + value.abs())
        if bool(x.error.any()):
            around = [(_apply_wide(inputs, x.value + by) - value).abs() for by in (x.error, -x.error)]
            error = error + 1.13 * torch.maximum(*around)
        if str(inputs.attributes["function"]) not in FUSED:
            error = error + 2 * rounding.unit * (x.value.abs() + value.abs())
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        inner = inputs.cell(0, index)
        value = float(_apply_wide(inputs, torch.tensor([inner.value], dtype=torch.float64)))
        function = str(inputs.attributes["function"])
        latex = rf"{number(value)} = \operatorname{{{function}}}\left({number(inner.value)}\right)"
        if inner.result is None and len(inner.terms) == 1:
            term = inner.terms[0]
            formula = FunctionPart(function=function, of=term.formula)
            return Cell(value, [Addend(term.label, value, term.operands, formula)], latex)
        result = FunctionPart(function=function, of=inner.result or TOTAL)
        return Cell(value, inner.terms, latex, inner.note, result)

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        return _apply_wide(inputs, inputs.row(0, index))

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"\operatorname{{{attributes['function']}}}\left({parts[0]}\right)"


def _apply(inputs: Inputs, x: Tensor) -> Tensor:
    if "block" not in inputs.attributes:
        return FUNCTIONS[str(inputs.attributes["function"])](x)
    return inputs.operands.activate(int(inputs.attributes["block"]), x)


def _apply_wide(inputs: Inputs, x: Tensor) -> Tensor:
    """Of wide numbers; by way of float32 where the device or the module takes no float64."""
    with torch.inference_mode():
        try:
            return _apply(inputs, x).double().to(x.device)
        except (TypeError, RuntimeError, NotImplementedError):
            return _apply(inputs, x.float()).double().to(x.device)
