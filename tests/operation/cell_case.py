"""Small tensors and equations over them: what cases are made of."""

from dataclasses import dataclass, field

import torch
from memory_operands import MemoryOperands
from torch import Tensor

from glassformer.operation.closed_set import compute_whole
from glassformer.protocol.anatomy import Equation, WeightInput

# More than an explanation lists terms, so that some are left over.
POSITIONS, D_MODEL, D_MLP, VOCAB = 20, 24, 12, 30
HEADS, KV_HEADS, D_HEAD = 4, 2, 6
EXPERTS = 8


@dataclass(frozen=True)
class Case:
    """A site with an equation, and the cells of it that are explained."""

    name: str
    equation: Equation
    indices: list[list[int]]


@dataclass
class Cases:
    operands: MemoryOperands
    cases: list[Case] = field(default_factory=list)
    axes: dict[str, list[str]] = field(default_factory=dict)

    def site(self, name: str, values: Tensor) -> None:
        self.operands.sites[name] = values.float()
        self.axes[name] = find_axes(values)

    def weight(
        self, name: str, values: Tensor, start: int | None = None, stop: int | None = None
    ) -> WeightInput:
        """Weights are registered once, and are what they are from then on."""
        assert name not in self.operands.weights
        self.operands.weights[name] = values.float()
        return self.given(name, start, stop)

    def given(self, name: str, start: int | None = None, stop: int | None = None) -> WeightInput:
        """A weight that is there already, or a run of it."""
        return WeightInput(name=name, start=start, stop=stop)

    def add(self, name: str, made: Equation, *indices: list[int]) -> Equation:
        """What the equation gives is recorded under `name`, in float32 as a model would."""
        with torch.inference_mode():
            self.site(name, compute_whole(made, self.operands))
        self.cases.append(Case(name, made, list(indices)))
        return made


def find_axes(values: Tensor) -> list[str]:
    if values.dim() == 2:
        return ["pos", "d_model"]
    return ["head", "query", "key"] if values.shape[1] == values.shape[2] else ["head", "pos", "d_head"]
