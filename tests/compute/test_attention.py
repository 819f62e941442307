"""Attention of single rows against its equation in float64, in every number format."""

import math

import pytest
import torch

from glassformer.compute.attention import attend_rows
from glassformer.compute.exactness import gamma, unit_roundoff

SEQUENCES, KV_HEADS, KEYS, WIDTH = 3, 2, 70, 16
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared_by", [1, 3])
@pytest.mark.parametrize("masked", ["nothing", "told", "added"])
def test_single_rows_attend_as_the_equation_says(dtype: torch.dtype, shared_by: int, masked: str) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, KV_HEADS * shared_by, SEQUENCES, WIDTH).to(dtype)
    keys, values = torch.randn(2, SEQUENCES, KV_HEADS, KEYS, WIDTH).to(dtype)
    is_seen = torch.rand(SEQUENCES, 1, 1, KEYS) < 0.5
    if masked == "nothing":
        is_seen[:] = True
    added = torch.zeros(is_seen.shape, dtype=dtype).masked_fill(~is_seen, -torch.inf)
    mask = {"nothing": None, "told": is_seen, "added": added}[masked]
    found = attend_rows(query.transpose(1, 2), keys, values, mask, None)
    rows = query[0].double().unflatten(0, (KV_HEADS, shared_by)).permute(2, 0, 1, 3)
    scores = (rows @ keys.double().mT * WIDTH**-0.5).masked_fill(~is_seen, -torch.inf)
    expected = (scores.softmax(-1) @ values.double()).flatten(1, 2)[None]
    assert found.dtype == dtype
    # A score that errs by e changes probabilities by a factor of exp(2 e) at most, and so what is mixed from values.
    sizes = (rows.abs() @ keys.double().abs().mT) * WIDTH**-0.5
    once = unit_roundoff(dtype) if dtype != torch.float32 else 0.0
    score_error = float((gamma(WIDTH + 2) * sizes).max()) + once * float(
        scores[scores.isfinite()].abs().max()
    )
    error = math.expm1(2 * score_error) + gamma(KEYS + 8) + 2 * once
    torch.testing.assert_close(found.double(), expected, atol=error * float(values.abs().max()), rtol=0)
