"""Numbers of a message with no more digits than a picture can show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

DIGITS = 6


def shorten(values: Tensor) -> Any:
    """Nested lists of numbers, rounded to six digits of the largest: a few bytes each instead of twenty."""
    wide = values.detach().to("cpu").double().numpy()
    largest = float(np.abs(wide).max()) if wide.size else 0.0
    if largest == 0.0 or not math.isfinite(largest):
        return wide.tolist()
    return np.round(wide, DIGITS - 1 - math.floor(math.log10(largest))).tolist()
