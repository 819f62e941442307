"""Holding what one computation gave against what another did: the same, the same but for rounding, or not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glassformer.protocol.anatomy import Check

# Largest difference allowed, relative to the largest magnitude of the site: rounding of sums in that precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


def compare(actual: Tensor, expected: Tensor) -> Check:
    """`exact`, `close` within the tolerance of the tensor's precision, or `refused` with the difference.

    Masked cells (`-inf`) must be masked in both.
    """
    if actual.shape != expected.shape:
        return Check(
            status="refused", reason=f"shapes differ: {list(expected.shape)} against {list(actual.shape)}"
        )
    if not actual.numel():
        return Check(status="exact", max_abs_difference=0.0, tolerance=0.0)
    a, b = actual.double(), expected.double()
    largest, difference = float(a.abs().max()), float((a - b).abs().max())
    if not (math.isfinite(largest) and math.isfinite(difference)):
        finite = torch.isfinite(a)
        # A NaN equals nothing, so it is refused in whichever it stands.
        if not torch.equal(finite, torch.isfinite(b)) or not torch.equal(a[~finite], b[~finite]):
            reason = "its equation is finite in other cells than the model's values"
            return Check(status="refused", reason=reason)
        a, b = a[finite], b[finite]
        largest = float(a.abs().max()) if a.numel() else 0.0
        difference = float((a - b).abs().max()) if a.numel() else 0.0
    tolerance = TOLERANCES.get(actual.dtype, 1e-4) * max(largest, 1e-3)
    if difference == 0.0:
        return Check(status="exact", max_abs_difference=0.0, tolerance=tolerance)
    if difference <= tolerance:
        return Check(status="close", max_abs_difference=difference, tolerance=tolerance)
    reason = f"its equation differs from the model by {difference:.3g}, more than {tolerance:.3g}"
    return Check(status="refused", max_abs_difference=difference, tolerance=tolerance, reason=reason)


def is_same(actual: Tensor, expected: Tensor) -> bool:
    """Whether `compare` would not refuse: mostly seen at once, since most that are the same are so to the bit."""
    if actual.dtype == expected.dtype and torch.equal(actual, expected):
        return True
    return compare(actual, expected).status != "refused"


def worse_of(first: Check, second: Check | None) -> Check:
    """The check with the larger difference."""
    if second is None or (first.max_abs_difference or 0) >= (second.max_abs_difference or 0):
        return first
    return second
