"""Quantised layers compute what their weights, as they are shown, give: whatever a library's kernel does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassformer.compute.exactness import is_exact, unit_roundoff
from glassformer.compute.quantize import is_quantised, read_whole
from glassformer.compute.quantized_linear import hold_to_weights, list_quantised
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel

LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(name: str, **options: Any) -> LoadedModel:
    folder = Catalog().find(name).folder
    assert folder is not None
    source = ModelSource(model_id=name, kind="folder", folder=folder, root=folder)
    return load_model(source, folder, device="cpu", **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("quantize", LIBRARIES)
def test_what_is_shown_is_what_computes(quantize: str, dtype: str) -> None:
    """Also after the first forward, in which a library may rearrange its weights, and for large results."""
    pytest.importorskip(LIBRARIES[quantize])
    loaded = load("tales", quantize=quantize, dtype=dtype)
    layers = dict(list_quantised(loaded.model))
    assert len(layers) == 35
    before = {name: read_whole(layer.weight).clone() for name, layer in layers.items()}
    with torch.inference_mode():
        assert loaded.model(torch.tensor([loaded.encode("Mia has a ball.")])).logits.isfinite().all()
        for name, layer in layers.items():
            shown = read_whole(layer.weight)
            assert torch.equal(shown, before[name])
            for count in (1, 3, 32):
                assert is_exact(
                    lambda rows, layer=layer: layer(rows[None])[0],
                    shown,
                    count,
                    dtype=DTYPES[dtype],
                    weight_error=unit_roundoff(shown.dtype),
                ), name


@pytest.mark.parametrize("quantize", LIBRARIES)
def test_a_kernel_that_computes_something_else_is_not_used(quantize: str) -> None:
    pytest.importorskip(LIBRARIES[quantize])
    loaded = load("tales", quantize=quantize)
    layers = dict(list_quantised(loaded.model))
    name, layer = next((name, layer) for name, layer in layers.items() if name.endswith("down_proj"))
    own = layer.forward

    def round_rows(rows: Tensor) -> Tensor:
        return own(rows.bfloat16().to(rows.dtype))

    layer.forward = round_rows
    replaced = hold_to_weights(loaded.model, torch.float32)
    assert name in replaced
    rows = torch.randn(2, 3, layer.in_features)
    with torch.inference_mode():
        expected = nn.functional.linear(rows, read_whole(layer.weight), layer.bias)
        assert torch.equal(layer(rows), expected)


def test_a_kernel_that_fails_is_not_used() -> None:
    """Some do for widths that they were not made for, and only at the first forward."""
    pytest.importorskip(LIBRARIES["int4"])
    loaded = load("sorter", quantize="int4")
    assert any(is_quantised(parameter) for parameter in loaded.model.parameters())
    with torch.inference_mode():
        assert loaded.model(torch.tensor([[0, 1, 2]])).logits.isfinite().all()

    def fail(rows: Tensor) -> Tensor:
        raise AssertionError("the width must be divisible by 32")

    for _, layer in list_quantised(loaded.model):
        layer.forward = fail
    assert len(hold_to_weights(loaded.model, torch.float32)) == 12
    with torch.inference_mode():
        assert loaded.model(torch.tensor([[0, 1, 2]])).logits.isfinite().all()


def test_a_whole_model_is_left_alone() -> None:
    loaded = load("sorter")
    assert hold_to_weights(loaded.model, torch.float32) == []
    assert not any(
        "forward" in vars(module) for module in loaded.model.modules() if isinstance(module, nn.Linear)
    )
