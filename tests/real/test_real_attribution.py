"""What each head and MLP of the real model adds to a token's logit, added up by hand from sites and plain weights."""

from typing import Any

import pytest
import torch
from llama_bounds import STORED, Known, check, exactly, grow, multiply, normalise
from torch import Tensor

import glassformer

pytestmark = pytest.mark.real

PROMPT = "The capital of Spain is"
ANSWER = " Madrid"


@pytest.mark.usefixtures("plain_products")
def test_contributions_add_up_to_the_logit(model: glassformer.Model, plain: Any) -> None:
    """Elhage et al. 2021: the residual is a sum, and the last norm, its scale kept, is linear.

    What is left over is what storing the sums rounded off, each within half a unit of its own cell.
    """
    blocks, unit = plain.config.num_hidden_layers, STORED[plain.dtype]
    trace = model.trace(PROMPT)
    (answer,) = model.loaded.tokenizer(ANSWER)["input_ids"]
    assert int(trace.numpy("lm_head")[-1].argmax()) == answer

    def read(address: str) -> Tensor:
        return torch.from_numpy(trace.numpy(address)[..., -1, :]).double()

    parts = {"embedding": plain.model.embed_tokens.weight[trace.token_ids[-1]].detach().double()}
    rounded = torch.zeros_like(parts["embedding"])
    for block in range(blocks):
        layer, before = plain.model.layers[block], read(f"resid_pre.{block}")
        middle, after = read(f"resid_mid.{block}"), read(f"resid_post.{block}")
        heads = read_heads(trace, block, layer.self_attn.o_proj.weight)
        parts |= {f"head {block}.{head}": row for head, row in enumerate(heads)}
        parts[f"MLP {block}"] = read(f"mlp_out.{block}")
        z = exactly(torch.from_numpy(trace.numpy(f"z.{block}")[:, -1]).flatten())
        check(read(f"attn_out.{block}"), multiply(z, layer.self_attn.o_proj, unit), f"heads of block {block}")
        for left, given, added in (
            (middle, before, read(f"attn_out.{block}")),
            (after, middle, parts[f"MLP {block}"]),
        ):
            check(left, (exactly(given) + exactly(added)).stored(unit), f"a sum in block {block}")
        rounded += (middle - before - heads.sum(0)) + (after - middle - parts[f"MLP {block}"])
    total = sum(parts.values())
    final = read(f"resid_post.{blocks - 1}")
    torch.testing.assert_close(total + rounded, final, rtol=0.0, atol=1e-9)

    scale = (final.square().mean() + plain.model.norm.variance_epsilon).rsqrt()
    direction = (
        plain.model.norm.weight.detach().double() * scale * plain.lm_head.weight[answer].detach().double()
    )
    logit = float(trace.numpy("lm_head")[-1, answer])
    shares = {name: float(part @ direction) for name, part in parts.items()}
    whole = multiply_row(
        normalise(exactly(final[None]), plain.model.norm, unit), plain.lm_head.weight[answer], unit
    )
    left_over = float(rounded @ direction)
    assert abs(sum(shares.values()) + left_over - logit) <= float(whole.error)
    # Storing sums in 16 bits takes away what matters little, in 32 bits nothing that could be seen.
    assert abs(left_over) <= 16 * unit * abs(logit)
    assert len(shares) == 1 + blocks * (1 + plain.config.num_attention_heads)


def read_heads(trace: glassformer.Trace, block: int, weight: Tensor) -> Tensor:
    """What each head adds to the residual at the last position, [head, d_model]."""
    z = torch.from_numpy(trace.numpy(f"z.{block}")[:, -1]).double()
    apart = weight.detach().double().unflatten(1, z.shape)
    return torch.einsum("hd,mhd->hm", z, apart)


def multiply_row(rows: Known, weight: Tensor, unit: float) -> Known:
    """One logit of the head, stored."""
    wide = weight.detach().double()
    error = grow(len(wide) + 2) * (rows.value.abs() @ wide.abs()) + rows.error @ wide.abs()
    return Known(rows.value @ wide, error).stored(unit)
