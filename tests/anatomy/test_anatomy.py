"""The anatomy of models whose shape is told apart only by running them, and of one that cannot be read."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from glassformer.anatomy.checkup import build_anatomy
from glassformer.compute.attention import NAME
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import list_sites

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


class NoTokenizer:
    """Stands where no text is read: anatomy needs ids alone."""

    all_special_ids: tuple[int, ...] = ()
    eos_token_id = None
    chat_template = None


def load_tiny(family: str, **changes: Any) -> LoadedModel:
    config = AutoConfig.for_model(family, **{**SIZES, **changes})
    auto: Any = AutoModelForCausalLM
    tokenizer: Any = NoTokenizer()
    model = auto.from_config(config, dtype=torch.float32).eval()
    return wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, tokenizer)


@pytest.mark.parametrize(
    ("family", "changes", "style"),
    [
        ("llama", {"num_key_value_heads": 2}, "halves"),
        ("cohere", {"num_key_value_heads": 2}, "neighbours"),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 6}, "halves"),
    ],
)
def test_rotary_style_is_found_by_running(family: str, changes: dict[str, Any], style: str) -> None:
    loaded = load_tiny(family, **changes)
    anatomy = build_anatomy(loaded)
    assert loaded.model.config._attn_implementation == NAME
    for block in anatomy.blocks:
        sites = {site.point: site for site in block.sites}
        assert sites["q"].equation is not None
        assert sites["q"].equation.attributes["pairing"] == style
        assert sites["attn_probs"].check.status in ("exact", "close")
        assert block.window == changes.get("sliding_window")


def test_gemma_norms_add_one_to_their_gain() -> None:
    loaded = load_tiny("gemma", num_key_value_heads=2, head_dim=8)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "norm" in name:
                parameter.normal_()
    equation = build_anatomy(loaded).blocks[0].sites[1].equation
    assert equation is not None
    assert equation.attributes["offset"] == 1.0


def test_a_broken_equation_is_refused_with_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_tiny("llama", num_key_value_heads=2)
    norm: Any = loaded.structure.blocks[1].get_submodule("post_attention_layernorm")
    norm.register_forward_pre_hook(lambda module, args: (args[0] * 1.01,))
    sites = {site.address: site for site in build_anatomy(loaded).blocks[1].sites}
    assert sites["resid_mid.1"].check.status == "refused"
    assert "differs from the model by" in (sites["resid_mid.1"].check.reason or "")
    assert sites["resid_post.1"].check.status != "refused"


def test_a_value_whose_equation_is_unknown_is_shown_by_what_is_made_of_it() -> None:
    loaded = load_tiny("llama", num_key_value_heads=2)
    projection: Any = loaded.structure.blocks[1].get_submodule("mlp.down_proj")
    projection.register_forward_hook(lambda module, args, output: output * 1.01)
    sites = {site.address: site for site in build_anatomy(loaded).blocks[1].sites}
    assert sites["mlp_out.1"].equation is None
    assert sites["mlp_out.1"].check.status == "exact"
    assert "what is computed from it holds" in (sites["mlp_out.1"].check.reason or "")
    assert sites["resid_post.1"].equation is not None


def test_what_a_model_lacks_is_not_drawn() -> None:
    anatomy = build_anatomy(load_tiny("starcoder2", num_key_value_heads=2))
    assert "mlp_pre_linear" not in {site.point for site in anatomy.blocks[0].sites}
    assert not anatomy.blocks[0].gated


def test_weights_are_named_as_in_the_state_dict() -> None:
    loaded = load_tiny("llama", num_key_value_heads=2, tie_word_embeddings=True)
    anatomy = build_anatomy(loaded)
    weights = {
        weight.name: weight for weight in [*anatomy.weights, *(w for b in anatomy.blocks for w in b.weights)]
    }
    state = loaded.model.state_dict()
    assert set(weights) == set(state)
    assert all(weights[name].shape == list(tensor.shape) for name, tensor in state.items())
    assert weights["lm_head.weight"].tied_to == "model.embed_tokens.weight"
    outside = {"token_embedding", "final_norm", "unembedding"}
    inside = {"attn_norm", "q", "k", "v", "o", "mlp_norm", "gate", "up", "down"}
    assert {weight.role for weight in anatomy.weights} == outside
    assert all({weight.role for weight in block.weights} == inside for block in anatomy.blocks)


def test_a_model_the_tap_would_change_keeps_its_own_attention() -> None:
    loaded = load_tiny(
        "bigbird_pegasus", decoder_layers=2, decoder_attention_heads=4, d_model=32, decoder_ffn_dim=48
    )
    token_ids = torch.arange(2, 14)[None]
    loaded.model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = loaded.model(token_ids, use_cache=False).logits
        anatomy = build_anatomy(loaded)
        torch.testing.assert_close(loaded.model(token_ids, use_cache=False).logits, expected)
    sites = {site.point: site for site in anatomy.blocks[0].sites}
    # Its probabilities are what it hands on itself.
    assert sites["attn_probs"].provenance == "captured"
    assert sites["attn_probs"].check.status == "exact"
    reasons = {sites[point].check.reason for point in ("q", "k", "attn_scores")}
    assert reasons == {"the attention tap changes what this family computes"}
    # Values are what one of its maps gives, and mixing them gives what attention gives.
    assert sites["z"].check.status in ("exact", "close")
    assert sites["v"].equation is not None


def test_a_model_that_cannot_be_read_says_why() -> None:
    anatomy = build_anatomy(load_tiny("xlm", emb_dim=32))
    assert anatomy.blocks == []
    assert (
        anatomy.refused
        == "its blocks do not lie where those of other families do, and where is not known here"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stream_that_is_wider_than_the_embeddings_is_run_again_as_it_is(dtype: torch.dtype) -> None:
    """Mamba keeps its stream in float32 from the first block on, whatever format its weights are in."""
    loaded = load_tiny("mamba", state_size=4, num_hidden_layers=3)
    model = loaded.model.to(dtype)
    wrapped = wrap_model(ModelSource(model_id="mamba", kind="folder", folder=None), model, loaded.tokenizer)
    sites = list_sites(build_anatomy(wrapped))
    for address in ("resid_pre.1", "attn_in.1", "attn_out.1", "resid_post.1", "resid_post.2", "lm_head"):
        assert sites[address].check.status in ("exact", "close"), (address, sites[address].check.reason)
