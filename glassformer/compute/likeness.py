"""Whether logits that were computed in another way are the same but for rounding: each row by its own size."""

from __future__ import annotations

import torch
from torch import Tensor

# The largest difference allowed in a row of logits, as a share of its usual size.
SHARES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
# Four times the middling cell stands for a row's large ones: single cells, as of tokens never said, do not count.
USUAL, LEAST = 4.0, 1e-2


def measure_change(found: Tensor, expected: Tensor) -> float:
    """The largest difference of logits [..., vocab], as a share of the usual size of the row that it is in."""
    size = USUAL * expected.double().abs().median(-1).values
    difference = (found.double() - expected.double()).abs().amax(-1)
    return float((difference / size.clamp(min=LEAST)).max())


def is_rounding(change: float, dtype: torch.dtype) -> bool:
    """Whether rounding in `dtype` explains a change (`measure_change`); NaN is never explained."""
    return change <= SHARES.get(dtype, 5e-2)
