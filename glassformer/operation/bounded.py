"""How far from the exact value a model's own arithmetic may have come: running error analysis of each operation.

Beside every value stands a bound of its error, carried from one operation to the next (Higham, Accuracy and Stability
of Numerical Algorithms, 2nd edition 2002, section 3.3). Storing and summing have units of their own, since models store
16 bits and sum in 32; a sum of n products errs by about the square root of n (Higham and Mary 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Half the distance of two neighbours, relative to them, and half the smallest number that is held at all.
UNITS = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SMALLEST = {torch.float16: 2.0**-25}
SMALLEST_OTHER = 2.0**-127
SUM_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True)
class Bounded:
    """Values computed anew, and for each how far from it the model's own may be."""

    value: Tensor
    error: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Bounded:
        """The same change of layout for both."""
        return Bounded(function(self.value), function(self.error))


@dataclass(frozen=True, slots=True)
class Rounding:
    """How a model rounds. `is_fused` says that attention rounds its probabilities, which are given wider, once."""

    unit: float
    smallest: float
    is_fused: bool = False

    @classmethod
    def of(cls, dtype: torch.dtype, *, is_fused: bool = False) -> Rounding:
        """The rounding of a model that stores its tensors in `dtype`."""
        return cls(UNITS.get(dtype, UNITS[torch.float32]), SMALLEST.get(dtype, SMALLEST_OTHER), is_fused)

    def exact(self, value: Tensor) -> Bounded:
        """What the model itself was given."""
        wide = value.double()
        return Bounded(wide, torch.zeros_like(wide))

    def stored(self, value: Tensor, error: Tensor) -> Bounded:
        """A value after it has been stored."""
        return Bounded(value, error + self.unit * (value.abs() + error) + self.smallest)


def sum_unit(count: int) -> float:
    """How far a sum of so many may be off that was summed in float32, relative to the sum of their sizes."""
    return min(count, 8 * math.sqrt(count)) * SUM_UNIT
