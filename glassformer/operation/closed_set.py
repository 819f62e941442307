"""The closed set of operations, and what can be done with an equation: whoever asks for it does so here."""

from __future__ import annotations

from torch import Tensor

from glassformer.operation.activation import Activation
from glassformer.operation.add import Add
from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.dot import Dot
from glassformer.operation.inputs import Inputs, Operation, explain_with
from glassformer.operation.lookup import Lookup
from glassformer.operation.mask import Mask
from glassformer.operation.matmul import Matmul
from glassformer.operation.multiply import Multiply
from glassformer.operation.norm import Norm
from glassformer.operation.operands import Operands
from glassformer.operation.rotary import Rotary
from glassformer.operation.route import Route
from glassformer.operation.scale import Scale
from glassformer.operation.softcap import Softcap
from glassformer.operation.softmax import Softmax
from glassformer.operation.sum_experts import SumExperts
from glassformer.operation.weighted_sum import WeightedSum
from glassformer.protocol.anatomy import Equation

OPERATIONS: dict[str, Operation] = {
    "lookup": Lookup(),
    "add": Add(),
    "scale": Scale(),
    "norm": Norm(),
    "matmul": Matmul(),
    "rotary": Rotary(),
    "dot": Dot(),
    "softcap": Softcap(),
    "mask": Mask(),
    "softmax": Softmax(),
    "weighted_sum": WeightedSum(),
    "activation": Activation(),
    "multiply": Multiply(),
    "route": Route(),
    "sum_experts": SumExperts(),
}


def compute_whole(equation: Equation, operands: Operands) -> Tensor:
    """The whole tensor that an equation describes, as a model would compute it."""
    return OPERATIONS[equation.operation].whole(Inputs(equation, operands, OPERATIONS))


def compute_bound(equation: Equation, operands: Operands, rounding: Rounding) -> Bounded:
    """The whole tensor in a wide format, with a bound for each cell of how far the model's own may be from it."""
    return OPERATIONS[equation.operation].bound(Inputs(equation, operands, OPERATIONS), rounding)


def compute_cell(equation: Equation, operands: Operands, index: list[int]) -> Cell:
    """One cell in float64, with its terms; `index` is in the order of the equation's own result."""
    return explain_with(OPERATIONS[equation.operation], Inputs(equation, operands, OPERATIONS), index)
