"""The logit lens of the real model against its own norm and head, called by hand."""

from typing import Any

import plain_llama
import pytest
import torch
from torch import Tensor

import glassformer

pytestmark = pytest.mark.real


def predict(plain: Any, residual: Tensor) -> Tensor:
    """Logits of a residual [pos, d_model]."""
    with torch.no_grad():
        found: Tensor = plain.lm_head(plain.model.norm(residual[None].to(plain.dtype)))[0]
    return found.float()


@pytest.mark.usefixtures("plain_products")
def test_lens_of_every_block_equals_norm_and_head_to_the_bit(
    model: glassformer.Model, plain: Any, token_ids: list[int]
) -> None:
    blocks = plain.config.num_hidden_layers
    found = plain_llama.run(plain, token_ids, range(blocks))
    residuals = [*(found[f"resid_pre.{block}"] for block in range(blocks)), found[f"resid_post.{blocks - 1}"]]
    trace = model.trace(token_ids=token_ids)
    lens = trace.logit_lens(top=None)
    table = trace.logit_lens(top=3)
    assert lens.shape == (blocks + 1, len(token_ids), plain.config.vocab_size)
    for written, residual in enumerate(residuals):
        expected = predict(plain, residual)
        assert torch.equal(torch.from_numpy(lens[written].values.copy()), expected), written
        best = torch.from_numpy(table["token_id"][written].values.copy())
        assert torch.equal(expected.gather(-1, best), expected.topk(3).values), written
        shares = expected.double().softmax(-1).gather(-1, best)
        told = torch.from_numpy(table["probability"][written].values.copy())
        torch.testing.assert_close(told.double(), shares, rtol=1e-4, atol=0.0)


def test_the_last_row_of_the_lens_is_the_prediction(
    model: glassformer.Model, plain: Any, token_ids: list[int]
) -> None:
    """With quick products as well, for tokens that were written too."""
    trace = model.trace(token_ids=token_ids, max_new_tokens=6, temperature=0)
    last = plain.config.num_hidden_layers - 1
    lens = torch.from_numpy(trace.logit_lens([f"resid_post.{last}"], top=None)[0].values.copy())
    recorded = torch.from_numpy(trace.numpy(f"resid_post.{last}"))
    assert torch.equal(lens, predict(plain, recorded))
    assert torch.equal(lens, torch.from_numpy(trace.numpy("lm_head")))
