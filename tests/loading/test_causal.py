"""What sees later tokens is not served, whatever it is called; what does not is, whatever its config says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from transformers import AutoModelForCausalLM

from glassformer.errors import ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.causal import sees_later_tokens
from glassformer.loading.load import load_model

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def load(folder: Path, **options: Any) -> Any:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu", **options)


@pytest.mark.filterwarnings("ignore:.*is_decoder.*")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_encoder_is_refused_as_what_it_is(tmp_path: Path, dtype: str) -> None:
    folder = make_model(tmp_path / "bert", "bert", **SHAPE)
    with pytest.raises(ModelRefused, match="encoder: it fills in masked words"):
        load(folder, dtype=dtype)


def test_a_decoder_of_the_same_class_is_served(tmp_path: Path) -> None:
    assert load(make_model(tmp_path / "bert", "bert", is_decoder=True, **SHAPE)).vocab > 300


def test_what_a_config_says_does_not_decide(tmp_path: Path) -> None:
    """A GPT-NeoX is a decoder whose config says that it is none."""
    loaded = load(make_model(tmp_path / "neox", "gpt_neox", **SHAPE))
    assert loaded.config.is_decoder is False


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_number_formats_do_not_look_like_later_tokens(
    tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / family, family), dtype=dtype).eval()
    assert not sees_later_tokens(model, vocab=300)


def test_a_model_turned_both_ways_is_found(tmp_path: Path) -> None:
    """As embedding models are made of decoders: the same class, its mask taken away."""
    model: Any = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "llama", "llama"))
    model.eval().set_attn_implementation("eager")
    assert not sees_later_tokens(model, vocab=300)
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
        layer.register_forward_pre_hook(lead_both_ways, with_kwargs=True)
    assert sees_later_tokens(model, vocab=300)


def lead_both_ways(_: Any, args: Any, kwargs: Any) -> Any:
    return args, {**kwargs, "attention_mask": None}


def test_what_cannot_be_tried_is_not_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "llama", "llama")).eval()
    assert not sees_later_tokens(model, vocab=10_000_000)  # ids that the model has not
