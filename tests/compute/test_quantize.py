"""Weights in fewer bits: less memory, nearly the same answers, equations that hold, refusals that say why."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_model
from transformers import AutoModelForCausalLM

from glassformer.compute import linear
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.likeness import is_rounding, measure_change
from glassformer.compute.packing import compute_packed
from glassformer.compute.quantize import check_quantised, find_method, read_whole
from glassformer.errors import ModelRefused
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import plan_form
from glassformer.registry.prepare import look_into, quicken_steps
from glassformer.run.weights import weight_zarr_get

LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes"}
# Largest Kullback-Leibler divergence of the next-token distribution, in nats: measured 0.0002 and 0.02 for the
# worst case, matrices of pure noise; tales keeps well below both.
DIVERGENCE = {"int8": 0.002, "int4": 0.1}
PROMPT = "Mia has a ball. Mia gives the ball to Tom. Who has the ball?"


def load(folder: Path, **options: Any) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder)
    return load_model(source, folder, device="cpu", **options)


@pytest.fixture(scope="module")
def tales() -> Path:
    folder = Catalog().find("tales").folder
    assert folder is not None
    return folder


@pytest.mark.parametrize("quantize", LIBRARIES)
def test_quantised_while_loading(tales: Path, quantize: str) -> None:
    pytest.importorskip(LIBRARIES[quantize])
    whole, small = load(tales), load(tales, quantize=quantize)
    assert small.quantize == quantize
    assert small.parameters == whole.parameters
    assert small.bytes < whole.bytes / 2
    plan = plan_form(LoadOptions(device="cpu", quantize=quantize), open_form(tales))
    assert plan.needed_bytes == pytest.approx(small.bytes, rel=0.02)
    ids = torch.tensor([whole.encode(PROMPT)])
    with torch.inference_mode():
        expected, found = (loaded.model(ids).logits.log_softmax(-1) for loaded in (whole, small))
    divergence = (expected.exp() * (expected - found)).sum(-1).mean()
    assert 0 < divergence < DIVERGENCE[quantize]


@pytest.mark.parametrize("quantize", LIBRARIES)
def test_every_equation_holds_with_the_weights_as_they_are_shown(tales: Path, quantize: str) -> None:
    pytest.importorskip(LIBRARIES[quantize])
    loaded = load(tales, quantize=quantize)
    look_into(loaded)
    assert loaded.anatomy is not None
    whole = load(tales)
    look_into(whole)
    assert whole.anatomy is not None
    for block, whole_block in zip(loaded.anatomy.blocks, whole.anatomy.blocks, strict=True):
        refused = {site.address: site.check.reason for site in block.sites if site.check.status == "refused"}
        assert not refused
        # The shapes and roles of the whole model, whatever the weights are packed into.
        assert [(w.name, w.shape, w.axes) for w in block.weights] == [
            (w.name, w.shape, w.axes) for w in whole_block.weights
        ]
    formats = {weight.dtype for block in loaded.anatomy.blocks for weight in block.weights}
    assert formats == {"float32", {"int8": "int8", "int4": "nf4"}[quantize]}
    name = "model.layers.0.self_attn.q_proj.weight"
    shown, original = loaded.structure.parameter(name), whole.structure.parameter(name)
    assert type(shown) is torch.Tensor
    assert shown.shape == original.shape
    assert (shown - original).abs().max() < 0.2 * original.abs().max()
    projection = loaded.model.get_submodule(name.removesuffix(".weight"))
    x = torch.randn(3, original.shape[1])
    with torch.inference_mode():
        torch.testing.assert_close(projection(x), x @ shown.T, rtol=1e-4, atol=1e-5)
    assert weight_zarr_get(loaded, f"{name}/0/c/0/0").body


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_int8_weights_write_together_and_stay_uncompiled(
    tales: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(LIBRARIES["int8"])
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    loaded = load(tales, quantize="int8", dtype=dtype)
    look_into(loaded)
    held = loaded.bytes
    quicken_steps(loaded, spare_bytes=0, compiles_blocks=True)
    assert loaded.packing_fault is None
    assert loaded.bytes == held
    ways = set(linear.list_shortened(loaded.model))
    assert any(name.endswith("down_proj") for name in ways)
    assert not any("forward" in vars(block) for block in loaded.structure.blocks)
    ids = loaded.encode(PROMPT)
    with torch.inference_mode():
        expected = loaded.model(torch.tensor([ids])).logits[0].float()
        span = PackedSpan(slice(0, len(ids)), 0, KeyValueStore())
        found = compute_packed(loaded.model, ids, range(len(ids)), [span], range(len(ids))).float()
    assert is_rounding(measure_change(found, expected), loaded.dtype)


def test_a_model_without_linear_maps_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    folder = make_model(tmp_path / "gpt2", "gpt2")  # its maps are transformers' Conv1D
    with pytest.raises(ModelRefused, match="finds nothing to make smaller") as caught:
        load(folder, quantize="int8")
    assert caught.value.field == "quantize"


@pytest.mark.parametrize("quantize", LIBRARIES)
def test_a_checkpoint_that_comes_quantised(tales: Path, tmp_path: Path, quantize: str) -> None:
    """Written by the library itself, loaded without being asked to quantise, counted as it is stored."""
    pytest.importorskip(LIBRARIES[quantize])
    small = load(tales, quantize=quantize)
    folder = Path(shutil.copytree(tales, tmp_path / "small"))
    (folder / "model.safetensors").unlink()
    small.model.save_pretrained(folder)
    loaded = load(folder)
    assert loaded.quantize == LIBRARIES[quantize]
    ids = torch.tensor([small.encode(PROMPT)])
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(ids).logits, small.model(ids).logits)
    plan = plan_form(LoadOptions(device="cpu"), open_form(folder))
    assert plan.needed_bytes == pytest.approx(loaded.bytes, rel=0.02)
    with pytest.raises(ModelRefused, match="quantised already"):
        load(folder, quantize=quantize)


def test_a_checkpoint_that_is_packed_on_the_disk(tales: Path, tmp_path: Path) -> None:
    """Written by compressed-tensors, unpacked when it is read, and counted so."""
    pytest.importorskip("compressed_tensors")
    folder = pack_checkpoint(tales, tmp_path / "packed")
    loaded, whole = load(folder), load(tales)
    assert loaded.quantize == "compressed-tensors"
    assert (folder / "model.safetensors").stat().st_size < whole.bytes / 2
    plan = plan_form(LoadOptions(device="cpu"), open_form(folder))
    assert loaded.bytes == pytest.approx(whole.bytes, rel=0.02)
    assert plan.needed_bytes == whole.bytes
    ids = torch.tensor([whole.encode(PROMPT)])
    with torch.inference_mode():
        expected, found = (model.model(ids).logits.log_softmax(-1) for model in (whole, loaded))
    assert 0 < (expected.exp() * (expected - found)).sum(-1).mean() < DIVERGENCE["int8"]
    look_into(loaded)
    assert loaded.anatomy is not None
    assert not [site for site in loaded.anatomy.blocks[0].sites if site.check.status == "refused"]


def test_a_checkpoint_in_blocks_of_8_bit_floats(tales: Path, tmp_path: Path) -> None:
    """As published in FP8: 128 x 128 blocks with a scale each; made whole, since its kernels would be fetched."""
    folder = Path(shutil.copytree(tales, tmp_path / "fp8"))
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if "_proj" in name]:
        blocks = tensors[name].new_empty([-(-size // 128) for size in tensors[name].shape])
        eighth = torch.empty_like(tensors[name], dtype=torch.float8_e4m3fn)
        for row, column in torch.cartesian_prod(*map(torch.arange, blocks.shape)).tolist():
            place = (slice(row * 128, row * 128 + 128), slice(column * 128, column * 128 + 128))
            blocks[row, column] = tensors[name][place].abs().max() / 448
            eighth[place] = (tensors[name][place] / blocks[row, column]).to(torch.float8_e4m3fn)
        tensors |= {name: eighth, f"{name}_scale_inv": blocks}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    recipe = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": recipe}))
    loaded, whole = load(folder), load(tales)
    assert loaded.quantize == "fp8"
    plan = plan_form(LoadOptions(device="cpu"), open_form(folder))
    assert plan.needed_bytes == loaded.bytes == whole.bytes
    ids = torch.tensor([whole.encode(PROMPT)])
    with torch.inference_mode():
        expected, found = (model.model(ids).logits.log_softmax(-1) for model in (whole, loaded))
    assert 0 < (expected.exp() * (expected - found)).sum(-1).mean() < 0.02


def pack_checkpoint(source: Path, folder: Path) -> Path:
    """A copy of a model with its linear maps in eight bits, one scale a row, four to a word."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        QuantizationStatus,
        apply_quantization_config,
    )

    auto: Any = AutoModelForCausalLM
    model = auto.from_pretrained(source, dtype=torch.float32)
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    recipe = {
        "config_groups": {"maps": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
    }
    apply_quantization_config(model, QuantizationConfig(**recipe))
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            module.weight_scale.data = module.weight.detach().abs().amax(1, keepdim=True) / 127
            module.quantization_status = QuantizationStatus.FROZEN
    compressor = ModelCompressor.from_pretrained_model(model, quantization_format="pack-quantized")
    compressor.compress_model(model)
    shutil.copytree(source, folder)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    compressor.update_config(str(folder))
    return folder


def test_methods_that_cannot_be_loaded_are_named() -> None:
    for config in (
        {"quantization_config": {"quant_method": "hqq"}},
        {"text_config": {"quantization_config": {"quant_method": "hqq"}}},
    ):
        assert find_method(config) == "hqq"
        with pytest.raises(ModelRefused, match="'hqq', which cannot be loaded here"):
            check_quantised(config, "none")
    assert find_method({"quantization_config": {"load_in_8bit": True}}) == "bitsandbytes"
    assert find_method({}) is None


def test_a_whole_parameter_is_itself(tales: Path) -> None:
    auto: Any = AutoModelForCausalLM
    parameter = next(auto.from_pretrained(tales).parameters())
    assert read_whole(parameter) is parameter
    assert json.loads((tales / "config.json").read_text()).get("quantization_config") is None
