"""Every way to compute a linear layer against PyTorch's own, and which weights half precision holds."""

from typing import Any

import pytest
import torch
from torch import nn

from glassformer.compute import product
from glassformer.compute.exactness import bound_error, is_exact, unit_roundoff
from glassformer.compute.quantize import read_int8

WAYS = (product.plainly, product.turned, product.widened, product.narrowed, product.reordered)
SHAPES = [(40, 24), (2500, 16)]
INT8_SHAPES = [(40, 48), (2500, 16), (40, 24)]


def skip_without_kernel(way: product.Way) -> None:
    if way is product.reordered and not product.has_kernel(torch.float32):
        pytest.skip("oneDNN has no kernels for this processor")
    if way is product.narrowed and not product.has_narrow_kernel():
        pytest.skip("FBGEMM has no kernels for this processor")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("features", SHAPES)
@pytest.mark.parametrize("is_transposed", [False, True], ids=["rows", "columns"])
def test_every_way_gives_the_product(
    way: product.Way, count: int, features: tuple[int, int], dtype: torch.dtype, is_transposed: bool
) -> None:
    skip_without_kernel(way)
    weight, rows = torch.randn(features).to(dtype), torch.randn(count, features[1]).to(dtype)
    if way is product.narrowed:
        weight = weight.bfloat16().to(dtype)
    if is_transposed:
        weight = weight.t().contiguous().t()
    expected = nn.functional.linear(rows.double(), weight.double())
    found = way(weight)(rows)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    # What PyTorch itself does with 16 bits depends on the processor: it may round once more on the way.
    is_ours = dtype == torch.float32 or way in (product.widened, product.narrowed)
    error = 0.0 if is_ours else unit_roundoff(dtype)
    bound = bound_error(rows, weight.double(), expected, weight_error=error)
    assert bool(((found.double() - expected).abs() <= bound).all())
    assert is_exact(way(weight), weight, count, weight_error=error)


@pytest.mark.parametrize("size", [1e-30, 1e-6, 0.02, 1.0, 1e5, 1e30])
def test_weights_of_bfloat16_are_multiplied_as_exactly_as_in_float32(size: float) -> None:
    skip_without_kernel(product.narrowed)
    torch.manual_seed(0)
    # Of every magnitude down to a millionth of the largest.
    weight = (size * torch.randn(300, 256) * 10 ** (-6 * torch.rand(300, 256))).bfloat16().float()
    rows = torch.randn(7, 256)
    assert product.fits_half(weight)
    expected = nn.functional.linear(rows.double(), weight.double())
    error = (product.narrowed(weight)(rows).double() - expected).abs()
    assert bool((error <= bound_error(rows, weight.double(), expected)).all())
    for count in (1, 7):
        assert is_exact(product.narrowed(weight), weight, count)


def test_which_weights_half_precision_holds() -> None:
    weight = torch.randn(40, 24)
    assert not product.fits_half(weight)
    assert product.fits_half(weight.half().float())
    assert product.fits_half(weight.bfloat16())
    assert product.fits_half(torch.zeros(4, 4))
    # One number among many, and what no number stands for.
    almost = weight.bfloat16().float()
    almost[30, 3] = 1 / 3
    assert not product.fits_half(almost)
    assert not product.fits_half(torch.tensor([[1.0, float("nan")]]))
    assert not product.fits_half(torch.tensor([[1.0, float("inf")]]))


def test_copies_are_offered_where_there_is_room_for_all_of_them() -> None:
    for way in (product.narrowed, product.reordered):
        skip_without_kernel(way)
    weights = [torch.randn(96, 512).bfloat16().float() for _ in range(3)]
    numbers = 3 * 96 * 512

    def offered(spare_bytes: int) -> set[product.Way]:
        return set(product.list_ways(weights, spare_bytes=spare_bytes)) - {product.plainly, product.turned}

    assert offered(0) == set()
    assert offered(2 * numbers) == {product.narrowed}
    assert offered(6 * numbers - 1) == {product.narrowed}
    assert offered(6 * numbers) == {product.narrowed, product.reordered}
    weights[2] = torch.randn(96, 512)
    assert offered(6 * numbers) == {product.reordered}


def test_copies_in_half_precision_are_counted_with_what_fills_them_up() -> None:
    """SmolLM's width of 576 takes as much as 1024 (measured with resident memory)."""
    assert product.count_narrowed(torch.empty(1536, 576)) == 1536 * 1024
    assert product.count_narrowed(torch.empty(768, 768)) == 768 * 1024
    assert product.count_narrowed(torch.empty(1, 1)) == 32 * 512
    huge = torch.empty(256_000, 12_288, device="meta")
    assert product.count_narrowed(huge) > product.MOST_NARROWED


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("features", INT8_SHAPES)
def test_every_way_gives_the_product_of_int8_weights(
    features: tuple[int, int], count: int, dtype: torch.dtype
) -> None:
    weight = make_int8(features, dtype)
    rows = torch.randn(count, features[1]).to(dtype)
    ways = product.list_ways([weight], spare_bytes=2**32)
    # Its kernel takes sixteen features at a time, and no rest.
    assert (product.scaled in ways) == (dtype == torch.bfloat16 and features[1] % 16 == 0)
    found = read_int8(weight)
    assert found is not None
    numbers, scales = found
    whole = numbers.double() * scales.double()[:, None]
    expected = nn.functional.linear(rows.double(), whole)
    for way in ways:
        multiplied = way(weight)(rows)
        assert multiplied.dtype == dtype
        # torchao's own product scales rounded weights, or rounded sums by rounded scales.
        error = unit_roundoff(dtype) if way is product.plainly else 0.0
        bound = bound_error(rows, whole, expected, weight_error=error)
        assert bool(((multiplied.double() - expected).abs() <= bound).all()), way


def test_int8_weights_are_read_as_torchao_means_them() -> None:
    weight = make_int8((40, 24), torch.float32)
    found = read_int8(weight)
    assert found is not None
    numbers, scales = found
    torch.testing.assert_close(numbers * scales[:, None], weight.dequantize())
    # Rows in int8 as well are another product, whatever torchao keeps such weights in.
    torchao = pytest.importorskip("torchao.quantization")
    unpacked = torchao.Int8DynamicActivationIntxWeightConfig(weight_granularity=torchao.PerAxis(0))
    for kind in (torchao.Int8DynamicActivationInt8WeightConfig(), unpacked):
        assert read_int8(make_int8((40, 32), torch.float32, kind)) is None
    assert read_int8(torch.randn(40, 24)) is None
    for other in (
        torch.randn(40, 32),
        make_int8((40, 24), torch.bfloat16),
        make_int8((40, 32), torch.float32),
    ):
        with pytest.raises(ValueError, match="int8"):
            product.scaled(other)


def make_int8(features: tuple[int, int], dtype: torch.dtype, kind: Any = None) -> torch.Tensor:
    """A random weight that torchao has made int8."""
    torchao = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(features[1], features[0], bias=False).to(dtype)).requires_grad_(False)
    torchao.quantize_(model, kind or torchao.Int8WeightOnlyConfig())
    weight: torch.Tensor = model[0].weight.detach()
    return weight
