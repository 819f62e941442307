"""Only the language model of a model of pictures is planned, read and held; nothing in it is random."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from serving import serving
from tiny import make_tokenizer
from transformers import AutoConfig, AutoModelForImageTextToText

from glassformer.errors import ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_model
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import Plan, plan_load
from glassformer.loading.reading import BUILDING

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 8,
    "image_size": 16,
    "patch_size": 8,
}


def make_whole(folder: Path, family: str = "mistral3", text: str = "mistral") -> Any:
    """A whole model in `folder`; gives it."""
    tokenizer = make_tokenizer()
    kinds = {"mistral3": "pixtral", "llava": "clip_vision_model"}
    config = AutoConfig.for_model(
        family,
        text_config={"model_type": text, "vocab_size": len(tokenizer), **TEXT},
        vision_config={"model_type": kinds[family], **VISION},
        image_token_index=5,
        image_token_id=5,
    )
    torch.manual_seed(5)
    auto: Any = AutoModelForImageTextToText
    with BUILDING:
        whole = auto.from_config(config).eval()
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return whole


def load(folder: Path, **options: Any) -> Any:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu", **options)


def plan(folder: Path, **options: Any) -> Plan:
    form = open_form(folder)
    return plan_load(form.read_config(), form.list_tensors(), LoadOptions(device="cpu", **options))


@pytest.mark.parametrize(("family", "text"), [("mistral3", "mistral"), ("llava", "llama")])
def test_the_language_model_alone_is_held_and_is_the_whole_ones(
    tmp_path: Path, family: str, text: str
) -> None:
    folder = tmp_path / "whole"
    whole = make_whole(folder, family, text)
    loaded = load(folder)
    ids = torch.arange(6, 20)[None]
    with torch.inference_mode():
        assert torch.equal(loaded.model(ids).logits, whole(input_ids=ids).logits)
    held = {
        name: part
        for name, part in whole.named_parameters()
        if "vision" not in name and "projector" not in name
    }
    assert loaded.parameters == sum(part.numel() for part in held.values())
    assert loaded.config.model_type == text
    assert type(whole).__name__ in loaded.note
    assert loaded.bytes == plan(folder).needed_bytes


@pytest.mark.parametrize(("quantize", "library"), [("int8", "torchao"), ("int4", "bitsandbytes")])
def test_a_tower_in_fewer_bits(tmp_path: Path, quantize: str, library: str) -> None:
    pytest.importorskip(library)
    folder = tmp_path / "whole"
    make_whole(folder)
    plain, small = load(folder), load(folder, quantize=quantize)
    assert type(small.model) is type(plain.model)
    assert small.bytes < plain.bytes
    assert small.bytes == pytest.approx(plan(folder, quantize=quantize).needed_bytes, rel=0.05)


def test_a_tower_in_8_bit_floats(tmp_path: Path) -> None:
    """As Mistral's are published: the language model's maps alone, each with a scale."""
    folder = tmp_path / "whole"
    make_whole(folder)
    plain = load(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if "language_model" in name and "_proj" in name]:
        scale = tensors[name].abs().max() / 448
        eighth = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors |= {name: eighth, f"{name}_scale_inv": scale.reshape(1, 1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    recipe = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": recipe}))
    small = load(folder)
    name = "model.layers.0.mlp.up_proj.weight"
    assert small.bytes == plain.bytes == plan(folder).needed_bytes
    assert 0 < (small.model.get_parameter(name) - plain.model.get_parameter(name)).abs().max() < 0.01
    assert small.stored[name] == "FP8"


def test_weights_that_are_not_there_are_never_made_up(tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    make_whole(folder)
    tensors = load_file(folder / "model.safetensors")
    gone = next(name for name in tensors if "language_model" in name and "q_proj" in name)
    # What is missing is there in number, under a name nobody asks for.
    tensors["somewhere.else"] = tensors.pop(gone)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match=r"1 are missing"):
        load(folder)
    del tensors["somewhere.else"]
    only = {name: tensor for name, tensor in tensors.items() if "language_model" not in name}
    save_file(only, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelRefused, match=r"the language model in it has [\d,]+ numbers, and the files hold"
    ):
        load(folder)


def test_a_text_config_over_the_weights_of_a_whole_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    make_whole(folder)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**raw["text_config"], "architectures": ["MistralForCausalLM"]})
    )
    with pytest.raises(ModelRefused, match="missing"):
        load(folder)


def test_a_server_draws_it_and_refuses_a_picture(tmp_path: Path) -> None:
    make_whole(tmp_path / "whole")
    with serving(tmp_path, default_model="whole") as running, running.client() as client:
        config = client.post("/config", json={"model_id": "whole"}).json()
        assert (config["hidden_size"], config["n_layer"], config["vocab_size"]) == (
            32,
            2,
            len(make_tokenizer()),
        )
        anatomy = client.get("/api/models/whole/anatomy").json()
        assert len(anatomy["blocks"]) == 2
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        message = {"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}
        answer = client.post("/v1/chat/completions", json={"model": "whole", "messages": [message]})
        assert answer.status_code == 400
        assert "text only" in answer.json()["error"]["message"]
        written = client.post("/generate", json={"model_id": "whole", "prompt": "Mia", "max_new_tokens": 3})
        assert written.status_code == 200
