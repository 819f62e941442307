"""Attention of single rows against its equation in float64, in every number format."""

import pytest
import torch

from glassformer.model.attention import attend_rows

SEQUENCES, KV_HEADS, KEYS, WIDTH = 3, 2, 70, 16
TOLERANCE = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
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
    torch.testing.assert_close(found.double(), expected, atol=TOLERANCE[dtype], rtol=0)
