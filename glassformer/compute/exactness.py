"""How far a computed product may be from the exact one, and whether a way of computing it keeps to that.

The bound is known beforehand and holds on any processor: whatever the order in which `n` products are summed, the
error is at most `gamma_n` times the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical
Algorithms", 2nd edition, section 3.1). Rows that are zero but for a few numbers make it sharp, since only those
count: what is rounded to fewer bits then stands out, as in full rows do sums that are kept in fewer bits. Costs a
product of a few output features in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Numbers in a row that is zero elsewhere, and output features that are looked at.
FEW_NUMBERS, LOOKED_AT = 4, 64
# How often a result in a format of 16 bits may be rounded: int8 weights are scaled after their sums.
ROUNDINGS = 2
# To about this the largest result of full rows is brought: numbers on the way to it must not leave the format.
LARGE = 2.0**12
# What a weight may lose, as a share of the largest, where it is kept scaled in half precision (see `fits_half`).
KEPT_SHARE = 2.0**-39


def unit_roundoff(dtype: torch.dtype) -> float:
    """The largest relative error of rounding a number to a format."""
    return torch.finfo(dtype).eps / 2


def gamma(count: int, dtype: torch.dtype = torch.float32) -> float:
    """Higham's constant for `count` roundings to a format, one after the other."""
    error = count * unit_roundoff(dtype)
    return error / (1 - error) if error < 1 else float("inf")


def make_rows(count: int, width: int, dtype: torch.dtype, *, few: bool) -> Tensor:
    """Random rows [count, width], the same every time; with `few`, zero but for `FEW_NUMBERS` each."""
    generator = torch.Generator().manual_seed(width + count)
    rows = torch.randn(count, width, generator=generator)
    if few and width > FEW_NUMBERS:
        places = torch.rand(count, width, generator=generator).argsort(-1)[:, :FEW_NUMBERS]
        rows *= torch.zeros_like(rows).scatter_(-1, places, 1.0)
    return rows.to(dtype)


def find_factor(rows: Tensor, exact: Tensor) -> float:
    """The power of two that makes the larger of rows and results as large as `LARGE`."""
    largest = max(float(rows.abs().max()), float(exact.abs().max()))
    return 2.0 ** math.floor(math.log2(LARGE / largest)) if math.isfinite(largest) and largest > 0 else 1.0


def bound_error(rows: Tensor, weight: Tensor, exact: Tensor, *, weight_error: float = 0.0) -> Tensor:
    """The largest error of `rows` [row, d_in] times `weight` [feature, d_in], summed in float32: [row, feature].

    `exact` is their product and `weight` is of float64; `weight_error` is the relative error that each weight may have.
    The result is rounded to the format of `rows`.
    """
    wide = rows.double().abs()
    size = wide @ weight.abs().t()
    count = int((rows != 0).sum(-1).max())
    result = torch.finfo(rows.dtype)
    rounded = ROUNDINGS * unit_roundoff(rows.dtype) * exact.abs() if result.bits == 16 else 0.0
    # Numbers too small for float32 may be taken for zero, and a result for the least of its own format.
    vanished = (count + 2) * torch.finfo(torch.float32).tiny + result.tiny * result.eps
    lost = KEPT_SHARE * float(weight.abs().max()) * wide.sum(-1, keepdim=True)
    return (gamma(count + 2) + weight_error) * size + rounded + lost + vanished


def is_exact(
    product: Callable[[Tensor], Tensor],
    weight: Tensor,
    count: int,
    *,
    dtype: torch.dtype | None = None,
    weight_error: float = 0.0,
) -> bool:
    """Whether `product` of `count` rows of `dtype` (the weight's own) keeps to the bound, for `weight` [d_out, d_in].

    Looked at where the exact product is a number that the format holds.
    """
    dtype = dtype or weight.dtype
    features = torch.linspace(0, len(weight) - 1, min(LOOKED_AT, len(weight)), device=weight.device).long()
    # On the processor: not every other device has float64.
    wide = weight[features].cpu().double()
    for few in (False, True):
        rows = make_rows(count, weight.shape[1], dtype, few=few)
        exact = rows.double() @ wide.t()
        if not few:
            factor = find_factor(rows, exact)
            rows, exact = rows * factor, exact * factor
        error = (product(rows.to(weight.device))[:, features].cpu().double() - exact).abs()
        held = exact.abs() < torch.finfo(dtype).max
        # Written so that what is not a number is an error.
        if not bool((error <= bound_error(rows, wide, exact, weight_error=weight_error))[held].all()):
            return False
    return True
