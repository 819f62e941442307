"""Equations hold where the config says that something changes, not only for the positions of the check's prompt."""

from typing import Any

import pytest
import torch
from test_anatomy import load_tiny

from glassformer.anatomy.checkup import build_anatomy
from glassformer.anatomy.far import MOST_KEPT
from glassformer.anatomy.measurement import CHECK_TOKENS, Measurement
from glassformer.anatomy.selfcheck import hold
from glassformer.compute.position_limit import list_limits
from glassformer.errors import UnknownAddress
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import Anatomy, Site

LLAMA4: dict[str, Any] = {
    "num_hidden_layers": 4,  # the fourth attends to all, without rotary embedding, at a temperature
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size_mlp": 48,
    "num_local_experts": 2,
    "max_position_embeddings": 65536,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}


def load_ministral(original: int) -> LoadedModel:
    rope = {**YARN, "original_max_position_embeddings": original}
    sizes = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4 * original}
    return load_tiny("ministral3", rope_parameters=rope, **sizes)


def find_sites(anatomy: Anatomy) -> dict[str, Site]:
    return {site.address: site for block in anatomy.blocks for site in block.sites}


def find_attributes(anatomy: Anatomy, point: str) -> list[dict[str, Any] | None]:
    """The attributes of a point's equation in each block; None where none is known."""
    sites = [find_sites(anatomy)[f"{point}.{block.index}"] for block in anatomy.blocks]
    return [None if site.equation is None else site.equation.attributes for site in sites]


def hold_against_long_text(loaded: LoadedModel, anatomy: Anatomy, count: int) -> int:
    """Every accepted equation on a text of `count` positions, one forward of the model itself; how many there were."""
    ids = torch.randint(2, loaded.vocab, (count,), generator=torch.Generator().manual_seed(5))
    whole = Measurement(loaded.structure, ids)
    whole.run(list(find_sites(anatomy)))
    held = 0
    for address, site in find_sites(anatomy).items():
        if site.check.status == "refused" or site.equation is None or address not in whole.values:
            continue
        try:
            with torch.inference_mode():
                check = hold(whole.values[address], site.equation, whole, whole.rounding(address))
        except UnknownAddress:
            continue
        assert check.status != "refused", (address, check.reason)
        held += 1
    return held


@pytest.mark.parametrize("size", [8, 24, 40])
def test_small_numbers_of_llama_4(size: int) -> None:
    loaded = load_tiny("llama4_text", attention_chunk_size=size, floor_scale=size, **LLAMA4)
    anatomy = build_anatomy(loaded)
    assert find_attributes(anatomy, "attn_scores") == [{"chunk": size}] * 3 + [{}]
    assert find_attributes(anatomy, "q")[3] is None
    assert [block.kind for block in anatomy.blocks] == ["chunked"] * 3 + ["full"]
    assert hold_against_long_text(loaded, anatomy, 3 * size) > 20


def test_large_numbers_of_llama_4() -> None:
    loaded = load_tiny("llama4_text", attention_chunk_size=8192, floor_scale=8192, **LLAMA4)
    sites = find_sites(anatomy := build_anatomy(loaded))
    assert find_attributes(anatomy, "attn_scores") == [{"chunk": 8192}] * 3 + [{}]
    # At position 8191 its temperature begins to change, which no equation here says: so none is claimed.
    assert sites["q.3"].equation is None
    assert "not known" in (sites["q.3"].check.reason or "")
    assert sites["k.3"].equation is not None


def test_what_cannot_be_tried_is_not_claimed() -> None:
    too_large = MOST_KEPT + 2 * CHECK_TOKENS
    loaded = load_tiny("llama4_text", attention_chunk_size=too_large, floor_scale=8192, **LLAMA4)
    sites = find_sites(build_anatomy(loaded))
    for block in range(4):
        assert sites[f"attn_scores.{block}"].check.status == "refused"
        assert "cannot be tried" in (sites[f"attn_scores.{block}"].check.reason or "")


def test_a_number_past_the_context_is_never_reached() -> None:
    loaded = load_tiny(
        "llama4_text",
        attention_chunk_size=8192,
        floor_scale=8192,
        **{**LLAMA4, "max_position_embeddings": 64},
    )
    assert list_limits(loaded.config, loaded.context) == []
    assert find_attributes(build_anatomy(loaded), "attn_scores") == [{}] * 4


@pytest.mark.parametrize("original", [8, 24, 8192])
def test_queries_of_ministral_3(original: int) -> None:
    loaded = load_ministral(original)
    anatomy = build_anatomy(loaded)
    assert find_attributes(anatomy, "q") == [None, None]
    assert None not in find_attributes(anatomy, "k")
    if original < 100:
        assert hold_against_long_text(loaded, anatomy, 3 * original) > 20


@pytest.mark.parametrize("window", [6, 24, 4096])
def test_windows_of_any_size(window: int) -> None:
    sizes = {"num_key_value_heads": 2, "max_position_embeddings": 8192}
    loaded = load_tiny("mistral", sliding_window=window, **sizes)
    anatomy = build_anatomy(loaded)
    assert find_attributes(anatomy, "attn_scores") == [{"window": window}] * 2
    assert [block.window for block in anatomy.blocks] == [window] * 2
    if window < 100:
        assert hold_against_long_text(loaded, anatomy, 3 * window) > 20


@pytest.mark.parametrize("window", [4, 40])
def test_local_blocks_of_gpt_neo(window: int) -> None:
    loaded = load_tiny(
        "gpt_neo",
        attention_types=[[["global", "local"], 1]],
        num_layers=2,
        num_heads=4,
        window_size=window,
    )
    anatomy = build_anatomy(loaded)
    assert [(block.kind, block.window) for block in anatomy.blocks] == [("full", None), ("sliding", window)]
    with torch.inference_mode():
        out = loaded.model(torch.arange(64)[None], output_attentions=True, use_cache=False)
    assert [int((pattern[0, 0, -1] > 0).sum()) for pattern in out.attentions] == [64, window]
