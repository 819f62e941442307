"""Every kind of site of the real model against plain hooks on transformers' own modules, cell by cell."""

import re
from typing import Any

import plain_llama
import pytest
import torch
from llama_bounds import check, expect
from torch import Tensor

import glassformer
from glassformer.protocol.anatomy import Site

pytestmark = pytest.mark.real

EQUATIONS = {
    "attn_in": r"\hat{x} = \frac{x}{\operatorname{rms}(x)} \odot \gamma",
    "q": r"q = R_{\theta}\left(W_{\mathrm{q}}\,\hat{x}\right)",
    "k": r"k = R_{\theta}\left(W_{\mathrm{k}}\,\hat{x}\right)",
    "v": r"v = W_{\mathrm{v}}\,\hat{x}",
    "attn_scores": r"s = \begin{cases}0.125\,\left(q \cdot k\right) & j \le i \\ -\infty & \text{otherwise}\end{cases}",
    "attn_probs": r"a = \operatorname{softmax}_j\left(s\right)",
    "z": r"z = \sum_j a_{j}\,v_{j}",
    "attn_out": r"o = W_{\mathrm{o}}\,z",
    "resid_mid": r"x' = x + o",
    "mlp_in": r"\hat{x}' = \frac{x'}{\operatorname{rms}(x')} \odot \gamma",
    "mlp_pre": r"g = W_{\mathrm{gate}}\,\hat{x}'",
    "mlp_pre_linear": r"u = W_{\mathrm{up}}\,\hat{x}'",
    "mlp_act": r"h = \operatorname{SiLU}\left(g\right) \odot u",
    "mlp_out": r"m = W_{\mathrm{down}}\,h",
    "resid_post": r"x'' = x' + m",
}
FORMED = ("attn_scores", "attn_probs")


def read(trace: glassformer.Trace, address: str) -> Tensor:
    return torch.from_numpy(trace.numpy(address))


def check_formed(found: Tensor, point: str, operands: dict[str, Tensor], plain: Any, what: str) -> None:
    """Scores and probabilities are formed in float32 from queries and keys, whatever the model's format."""
    with torch.no_grad():
        check(found, expect(plain, 0, operands)[point], what)


@pytest.mark.usefixtures("plain_products")
def test_sites_equal_plain_hooks_to_the_bit(
    model: glassformer.Model, plain: Any, token_ids: list[int], blocks: list[int]
) -> None:
    expected = plain_llama.run(plain, token_ids, blocks)
    trace = model.trace(token_ids=token_ids)
    for address, cells in expected.items():
        assert torch.equal(read(trace, address), cells.float()), address
    for number in blocks:
        operands = {p: expected[f"{p}.{number}"] for p in plain_llama.POINTS}
        for point in FORMED:
            address = f"{point}.{number}"
            check_formed(read(trace, address), point, operands, plain, address)
    assert torch.equal(read(trace, "lm_head"), run_head(plain, expected["final_norm"]).float())


def test_sites_are_what_the_block_makes_of_what_was_recorded(
    model: glassformer.Model, plain: Any, token_ids: list[int], blocks: list[int]
) -> None:
    """With quick products and a text that was written token by token, too: transformers' block, fed with the record."""
    trace = model.trace(token_ids=token_ids, max_new_tokens=12, temperature=0)
    for number in blocks:
        recorded = read(trace, f"resid_pre.{number}")
        expected = plain_llama.run_block(plain, number, recorded)
        for address, cells in expected.items():
            if not address.startswith("resid_post"):
                assert torch.equal(read(trace, address), cells.float()), address


def test_batched_difference_tells_how_far_rerunning_is_from_what_was_recorded(
    model: glassformer.Model, plain: Any, token_ids: list[int], blocks: list[int]
) -> None:
    trace = model.trace(token_ids=token_ids, max_new_tokens=12, temperature=0)
    last = plain.config.num_hidden_layers - 1
    differences = []
    for number in blocks:
        read(trace, f"mlp_out.{number}")
        after = "resid_post" if number == last else "resid_pre"
        recorded = read(trace, f"{after}.{min(number + 1, last)}")
        again = plain_llama.run_block(plain, number, read(trace, f"resid_pre.{number}"))
        differences.append(float((again[f"resid_post.{number}"].float() - recorded).abs().max()))
    assert trace.live is not None
    assert trace.live.batched_difference == max(differences)


def test_bounds_hold_for_transformers_itself_and_tell_wrong_equations(
    plain: Any, token_ids: list[int], blocks: list[int]
) -> None:
    """What these tests measure with: every right site of the plain model passes, what lacks one part does not."""
    found = plain_llama.run(plain, token_ids, blocks)
    for number in blocks:
        sites = {point: found[f"{point}.{number}"] for point in plain_llama.POINTS}
        with torch.no_grad():
            expected = expect(plain, number, sites)
        for point in plain_llama.POINTS[1:]:
            check(sites[point], expected[point], f"{point}.{number}")
        wrong = {
            "resid_mid": sites["resid_pre"],
            "resid_post": sites["resid_mid"],
            "z": sites["z"].roll(1, 0),
            "q": sites["q"].roll(1, -1),
            "attn_in": sites["resid_pre"],
            "mlp_act": sites["mlp_pre"],
            "mlp_out": -sites["mlp_out"],
        }
        for point, cells in wrong.items():
            with pytest.raises(AssertionError, match="bounds off"):
                check(cells, expected[point], point)


def test_every_equation_stands_and_is_the_models(model: glassformer.Model) -> None:
    """None is refused or left undecided, also in 16 bits, and those of all blocks are the same."""
    checks = model.checks()
    doubtful = checks[~checks["status"].isin(["exact", "close"])]
    assert doubtful.set_index("address")["reason"].to_dict() == {}
    first, *others = model.anatomy.blocks
    told = {site.point: say_without_block(site) for site in first.sites}
    assert told == {**EQUATIONS, "resid_pre": "x = e"}
    for block in others:
        told = {site.point: say_without_block(site) for site in block.sites}
        assert told == {**EQUATIONS, "resid_pre": "x = x''"}


def say_without_block(site: Site) -> str:
    assert site.equation is not None
    return re.sub(r"\^\{\(\d+\)\}", "", site.equation.latex)


def run_head(plain: Any, rows: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = plain.lm_head(rows[None])[0]
    return found
