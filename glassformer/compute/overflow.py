"""What to say of numbers that are infinite or no numbers: in half precision they mostly overflowed."""

from __future__ import annotations

import torch
from torch import Tensor


def advise(dtype: torch.dtype) -> str:
    """Why numbers are not finite in `dtype`, and what helps, as the end of a sentence."""
    if dtype == torch.float16:
        largest = f"{torch.finfo(dtype).max:,.0f}"
        return f"numbers overflow in float16, which ends at {largest}; load the model in bfloat16 or float32"
    return "its weights or number format are at fault"


def is_overflowing(values: Tensor) -> bool:
    """Whether any of `values` is NaN or plus infinity; minus infinity is what masks are made of."""
    return bool(torch.isnan(values).any()) or bool(torch.isposinf(values).any())


def blank_shared(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both with zeros where neither is finite: there is nothing to compare."""
    if first.shape != second.shape:
        return first, second
    shared = ~(torch.isfinite(first) | torch.isfinite(second))
    return first.masked_fill(shared, 0.0), second.masked_fill(shared, 0.0)
