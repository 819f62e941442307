"""Every way to compute a linear layer against PyTorch's own, and that it is used while packing and only then."""

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from glassformer.model import product
from glassformer.model.attention import Span, packing
from glassformer.model.key_value import KeyValueStore

WAYS = (product.plainly, product.turned, product.widened, product.reordered)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("features", [(40, 24), (2500, 16)])
def test_every_way_gives_the_product(
    way: product.Way, count: int, features: tuple[int, int], dtype: torch.dtype
) -> None:
    weight, rows = torch.randn(features).to(dtype), torch.randn(count, features[1]).to(dtype)
    if way is product.reordered and not product.has_kernel(torch.float32):
        pytest.skip("oneDNN has no kernels for this processor")
    expected = nn.functional.linear(rows.double(), weight.double())
    found = way(weight)(rows)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}[dtype]
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


def test_it_is_used_while_packing_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(weight: Tensor) -> product.Product:
        def multiply(rows: Tensor) -> Tensor:
            asked.append(len(rows))
            return product.multiply_turned(rows, weight)

        return multiply

    monkeypatch.setattr(product, "FEWEST_BYTES", 0)
    monkeypatch.setattr(product, "choose_ways", lambda weights, may_copy: {1: counting})
    linear = nn.Linear(8, 6).requires_grad_(False)
    given = torch.randn(1, 3, 8)
    expected = linear(given)
    product.install_products(linear)
    assert torch.equal(linear(given), expected)
    assert asked == []
    with packing([Span(slice(0, 3), 0, KeyValueStore())]):
        torch.testing.assert_close(linear(given), expected)
        linear(torch.randn(300, 8))
    assert asked == [3, 300]


def test_a_way_is_chosen_for_every_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "FEWEST_BYTES", 0)
    config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=64)
    ways, taken = product.install_products(LlamaForCausalLM(config))
    assert set(ways) == set(product.TRIED_ROWS)
    assert "reordered" not in ways.values()  # there is no room for copies
    assert taken == 0


def test_tiny_models_are_left_alone() -> None:
    linear = nn.Linear(8, 6)
    assert product.install_products(linear) == ({}, 0)
    assert "forward" not in vars(linear)
