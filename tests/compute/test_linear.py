"""Quick products of linear layers: used while packing and only then, in the layers they belong to."""

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from glassformer.compute import linear
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.linear import copy_for_sums, install_products, remove_products
from glassformer.compute.packed_row import packing
from glassformer.compute.product import (
    Product,
    count_copied,
    has_kernel,
    has_narrow_kernel,
    multiply_turned,
    narrowed,
    reordered,
    scaled,
)


def test_it_is_used_while_packing_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(weight: Tensor) -> Product:
        def multiply(rows: Tensor) -> Tensor:
            asked.append(len(rows))
            return multiply_turned(rows, weight)

        return multiply

    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: counting})
    layer = nn.Linear(8, 6).requires_grad_(False)
    given = torch.randn(1, 3, 8)
    expected = layer(given)
    install_products(layer)
    assert torch.equal(layer(given), expected)
    assert asked == []
    with packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
        torch.testing.assert_close(layer(given), expected)
        layer(torch.randn(300, 8))
    assert asked == [3, 300]


def test_a_way_is_chosen_for_every_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=64)
    ways, taken = install_products(LlamaForCausalLM(config))
    assert set(ways["float32"]) == set(linear.TRIED_ROWS)
    assert "reordered" not in ways["float32"].values()  # there is no room for copies
    assert taken == 0


def test_tiny_models_are_left_alone() -> None:
    layer = nn.Linear(8, 6)
    assert install_products(layer) == ({}, 0)
    assert "forward" not in vars(layer)


def test_weights_in_int8_have_ways_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {len(weights): ways[1]})
    model = nn.Sequential(nn.Linear(24, 40), nn.Linear(40, 24), nn.Linear(24, 8)).requires_grad_(False)
    torchao.quantize_(
        model, torchao.Int8WeightOnlyConfig(), filter_fn=lambda module, name: name in ("0", "1")
    )
    given = torch.randn(1, 3, 24)
    expected = model(given)
    assert install_products(model) == ({"int8 for float32": {2: "widened"}, "float32": {1: "turned"}}, 0)
    with torch.inference_mode(), packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
        torch.testing.assert_close(model(given), expected)
    remove_products(model)
    assert not any("forward" in vars(layer) for layer in model)


def test_weights_in_int8_are_tried_in_ways_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    model = nn.Sequential(nn.Linear(24, 40)).requires_grad_(False)
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    ways, taken = install_products(model, spare_bytes=2**30)
    assert set(ways["int8 for float32"]) == set(linear.TRIED_ROWS)
    assert set(ways["int8 for float32"].values()) <= {"plainly", "widened"}
    assert taken == 0
    assert copy_for_sums(model[0]) is None


def test_weights_in_int8_are_multiplied_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: scaled})
    layer = nn.Linear(32, 40).bfloat16().requires_grad_(False)
    model = nn.Sequential(layer)
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    given = torch.randn(1, 3, 32).bfloat16()
    expected = nn.functional.linear(given.float(), layer.weight.dequantize().float(), layer.bias.float())
    assert install_products(model) == ({"int8 for bfloat16": {1: "scaled"}}, 0)
    with torch.inference_mode(), packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
        torch.testing.assert_close(model(given).float(), expected, atol=0.02, rtol=0.02)


def test_every_number_format_has_ways_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: ways[-1]})
    if not has_narrow_kernel() or not has_kernel(torch.float32):
        pytest.skip("there are no kernels for copies on this processor")
    model = nn.Sequential(nn.Linear(512, 32).bfloat16(), nn.Linear(512, 32)).requires_grad_(False)
    room = count_copied(reordered, [model[0].weight]) + count_copied(narrowed, [model[0].weight])
    ways, taken = install_products(model, spare_bytes=room)
    # What the first copies take, the second cannot have.
    assert ways == {"bfloat16": {1: "reordered"}, "float32": {1: "turned"}}
    assert taken == count_copied(reordered, [model[0].weight])
    with packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
        for layer in model:
            given = torch.randn(1, 3, 512).to(layer.weight.dtype)
            expected = nn.functional.linear(given, layer.weight, layer.bias)
            torch.testing.assert_close(layer(given), expected, atol=0.02, rtol=0.02)


def test_gpt2_keeps_its_weights_the_other_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    if not has_narrow_kernel():
        pytest.skip("FBGEMM has no kernels for this processor")
    monkeypatch.setattr(linear, "choose_ways", lambda weights, ways: {1: narrowed})
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=64)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    layers = [module for module in model.modules() if isinstance(module, Conv1D | nn.Linear)]
    given = [torch.randn(1, 3, linear.read_weight(layer).shape[1]) for layer in layers]
    with torch.inference_mode():
        expected = [layer(rows) for layer, rows in zip(layers, given, strict=True)]
        _, taken = install_products(model, spare_bytes=2**24)
        assert taken == count_copied(narrowed, [linear.read_weight(layer) for layer in layers])
        with packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
            found = [layer(rows) for layer, rows in zip(layers, given, strict=True)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_linear_layer_without_numbers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shared expert of size 0 that some mixtures of experts have."""
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Linear(6, 0), nn.Linear(0, 6))
    install_products(model.requires_grad_(False), spare_bytes=2**24)
    assert ["forward" in vars(layer) for layer in model] == [True, False, False]
    with packing([PackedSpan(slice(0, 3), 0, KeyValueStore())]):
        assert model(torch.randn(1, 3, 8)).shape == (1, 3, 6)


def test_layers_get_their_own_code_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    layer = nn.Linear(8, 6).requires_grad_(False)
    install_products(layer)
    assert "forward" in vars(layer)
    remove_products(layer)
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_weights_that_were_stored_in_16_bits_are_copied_so(kind: type, stored: torch.dtype) -> None:
    layer = kind(8, 6).requires_grad_(False)
    layer.weight.copy_(torch.randn_like(layer.weight).to(stored))
    copy = copy_for_sums(layer)
    assert copy is not None
    assert copy.dtype == stored
    assert torch.equal(copy.float(), layer.weight)
    assert (copy.t() if kind is Conv1D else copy).is_contiguous()


def test_weights_of_more_digits_are_copied_only_to_be_turned() -> None:
    assert copy_for_sums(nn.Linear(8, 6)) is None
    assert copy_for_sums(nn.Linear(8, 6).bfloat16()) is None
    layer = Conv1D(8, 6)
    copy = copy_for_sums(layer)
    assert copy is not None
    assert torch.equal(copy, layer.weight)
    assert copy.t().is_contiguous()


def test_not_a_number_is_no_16_bit_number() -> None:
    layer = nn.Linear(8, 6).requires_grad_(False)
    layer.weight.copy_(layer.weight.bfloat16())
    layer.weight[3, 2] = torch.nan
    assert copy_for_sums(layer) is None
