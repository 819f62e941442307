"""Holding what one computation gave against what another did: the same, the same but for rounding, or not.

Each cell is judged by a bound of its own. Real models have cells thousands of times as large as the rest, and what may
pass for rounding beside those is everything for the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from glassformer.operation.bounded import Bounded
from glassformer.protocol.anatomy import Check, WorstCell

# How far a value may be from what its equation gives, in bounds of its own error: the furthest cell, and the root mean
# square of all. What is right was seen to stay below 1.5 and 0.56 (docs/self-check.md).
MOST, MOST_RMS = 2.0, 0.7
# Where nothing is rounded any difference is too much.
LEAST_BOUND = 1e-300
# What two runs of the same may differ by in a cell, as a share of its size and of the middling one of its row.
SHARES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def judge(actual: Tensor, expected: Bounded) -> Check:
    """`close` where every cell is within what rounding explains, else `refused`; masked cells must be the same."""
    value, error = expected.value, expected.error
    if actual.shape != value.shape:
        return _refuse_shape(actual, value)
    if not actual.numel():
        return Check(status="exact", max_abs_difference=0.0)
    difference = (actual.to(value.dtype) - value).abs()
    largest, count = float(difference.max()), difference.numel()
    if not math.isfinite(largest):
        finite = torch.isfinite(value)
        # A NaN equals nothing, so it is refused in whichever it stands.
        if not torch.equal(finite, torch.isfinite(actual)) or not torch.equal(
            actual[~finite].to(value.dtype), value[~finite]
        ):
            reason = "its equation is finite in other cells than the model's values"
            return Check(status="refused", reason=reason)
        difference = difference.masked_fill(~finite, 0.0)
        largest, count = float(difference.max()), int(finite.sum())
    if not bool(torch.isfinite(error).all()):
        return Check(status="refused", reason="what rounding explains of its equation has no limit")
    shares = (difference / error.clamp(min=LEAST_BOUND)).reshape(-1)
    place = int(shares.argmax())
    worst = WorstCell(
        index=[int(i) for i in np.unravel_index(place, tuple(value.shape))],
        difference=float(difference.reshape(-1)[place]),
        bound=float(error.reshape(-1)[place]),
    )
    most, mean = float(shares[place]), float(shares.norm()) / math.sqrt(max(count, 1))
    found = Check(status="close", max_abs_difference=largest, worst=worst)
    if most <= MOST and mean <= MOST_RMS:
        return found
    reason = (
        f"its equation differs from the model by {worst.difference:.3g} in cell {worst.index}, where rounding explains "
        f"{worst.bound:.3g}"
        if most > MOST
        else f"its equation differs from the model in most cells, by {mean:.2g} of what rounding explains"
    )
    return found.model_copy(update={"status": "refused", "reason": reason})


def is_same_bits(actual: Tensor, expected: Tensor) -> bool:
    """Whether two tensors hold the same numbers, in whichever formats."""
    return actual.shape == expected.shape and torch.equal(actual, expected.to(actual.dtype))


def is_same(actual: Tensor, expected: Tensor) -> bool:
    """Whether two runs of the same gave the same but for rounding; masked cells must be masked in both."""
    if actual.dtype == expected.dtype and torch.equal(actual, expected):
        return True
    if actual.shape != expected.shape:
        return False
    a, b = actual.double(), expected.double()
    finite = torch.isfinite(a)
    if not torch.equal(finite, torch.isfinite(b)) or not torch.equal(a[~finite], b[~finite]):
        return False
    a, b = (each.masked_fill(~finite, 0.0) for each in (a, b))
    if not a.numel():
        return True
    share = max(SHARES.get(tensor.dtype, 1e-4) for tensor in (actual, expected))
    middling = a.abs().median(-1, keepdim=True).values if a.dim() else a.abs()
    return bool(((a - b).abs() <= share * (a.abs() + middling.clamp(min=1e-3))).all())


def tell_apart(actual: Tensor, first: Bounded, others: Sequence[Bounded]) -> bool:
    """Whether `actual` shows that it is the first and none of the others, where all are within their bounds.

    How far two are apart is counted in bounds (`apart`), and how far the values lie from the first to the second is a
    share (0: they are the first's). Others that are equal to the first on these operands say the same of them.
    """
    wide = actual.to(first.value.dtype)
    finite = torch.isfinite(first.value)
    for other in others:
        step = (other.value - first.value)[finite]
        error = first.error[finite].clamp(min=LEAST_BOUND)
        weighed = step / error
        apart = float(weighed.norm())
        if apart < SAME_APART:
            continue
        share = float(((wide - first.value)[finite] / error * weighed).sum()) / apart**2
        if not (apart >= FAR_APART and abs(share) < NEAR_SHARE):  # nor where either is not a number
            return False
    return True


# Equations as near as that are the same on these operands; only further apart than that can they be told apart, and
# only where the values are as near to one of them.
SAME_APART, FAR_APART, NEAR_SHARE = 1e-6, 6.0, 0.25


def worse_of(first: Check, second: Check) -> Check:
    """The check that says less: refused before undecided before close before exact; else the larger difference."""
    order = ("exact", "close", "undecided", "refused")
    if first.status != second.status:
        return max(first, second, key=lambda check: order.index(check.status))
    return max(first, second, key=lambda check: check.max_abs_difference or 0.0)


def _refuse_shape(actual: Tensor, expected: Tensor) -> Check:
    reason = f"shapes differ: {list(expected.shape)} against {list(actual.shape)}"
    return Check(status="refused", reason=reason)
