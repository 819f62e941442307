"""What is a rounding error and what is another product: bounds that hold on any processor, and what they refuse."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from glassformer.compute.exactness import bound_error, gamma, is_exact, make_rows
from glassformer.compute.linear import choose_ways
from glassformer.compute.product import Product, Way, plainly, turned

WIDTH, FEATURES = 1024, 80
Multiply = Callable[[Tensor, Tensor], Tensor]


def sum_in_half(rows: Tensor, weight: Tensor) -> Tensor:
    total = torch.zeros(len(rows), len(weight), dtype=torch.float16)
    for column in range(weight.shape[1]):
        total += (rows[:, column, None] * weight[:, column]).half()
    return total.float()


def drop_one(rows: Tensor, weight: Tensor) -> Tensor:
    return functional.linear(rows[:, :-1], weight[:, :-1])


INEXACT: dict[str, Multiply] = {
    "rows of bfloat16": lambda rows, weight: functional.linear(rows.bfloat16().float(), weight),
    "rows of float16": lambda rows, weight: functional.linear(rows.half().float(), weight),
    "weights of bfloat16": lambda rows, weight: functional.linear(rows, weight.bfloat16().float()),
    "results of bfloat16": lambda rows, weight: functional.linear(rows, weight).bfloat16().float(),
    "sums of float16": sum_in_half,
    "a feature is missing": drop_one,
    "not a number": lambda rows, weight: functional.linear(rows, weight) * torch.nan,
}


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("fault", INEXACT)
def test_what_loses_digits_is_not_exact(fault: str, count: int) -> None:
    weight = torch.randn(FEATURES, WIDTH, generator=torch.Generator().manual_seed(1))
    assert not is_exact(lambda rows: INEXACT[fault](rows, weight), weight, count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [1, 3, 64, WIDTH])
@pytest.mark.parametrize("size", [1e-30, 0.02, 1.0, 1e20])
def test_sums_in_any_order_are_exact(dtype: torch.dtype, width: int, size: float) -> None:
    """One after the other is the worst order there is; from the last to the first as good as any."""
    if size * 1e4 > torch.finfo(dtype).max or size < torch.finfo(dtype).tiny:
        pytest.skip("the format does not hold such weights")
    weight = (size * torch.randn(FEATURES, width, generator=torch.Generator().manual_seed(2))).to(dtype)

    def sum_in_turn(rows: Tensor) -> Tensor:
        total = torch.zeros(len(rows), len(weight))
        for column in reversed(range(width)):
            total += rows[:, column, None].float() * weight[:, column].float()
        return total.to(dtype)

    assert is_exact(sum_in_turn, weight, 3)
    assert is_exact(turned(weight.float()), weight.float(), 3)


def test_results_that_leave_the_format_on_their_way_are_not_exact() -> None:
    """As int8 numbers that are scaled only after a sum in half precision: 127 times too large until then."""
    scale = 2.0**-9
    numbers = torch.randint(-127, 128, (FEATURES, WIDTH), generator=torch.Generator().manual_seed(3))
    weight = (numbers * scale).half()

    def scale_after(rows: Tensor) -> Tensor:
        return functional.linear(rows.float(), numbers.float()).half() * scale

    assert not is_exact(scale_after, weight, 3)
    assert is_exact(lambda rows: functional.linear(rows.float(), weight.float()).half(), weight, 3)


def test_the_bound_is_highams() -> None:
    assert gamma(1) == pytest.approx(2**-24)
    assert gamma(1000) == pytest.approx(1000 * 2**-24, rel=1e-4)
    assert gamma(2**24) == float("inf")
    rows, weight = make_rows(2, 300, torch.float32, few=False), torch.randn(5, 300).double()
    exact = rows.double() @ weight.t()
    bound, size = bound_error(rows, weight, exact), rows.double().abs() @ weight.abs().t()
    torch.testing.assert_close(bound, gamma(302) * size, rtol=1e-6, atol=0)
    few = make_rows(2, 300, torch.float32, few=True)
    assert (few != 0).sum(-1).tolist() == [4, 4]


def quickly(weight: Tensor) -> Product:
    """No product at all, and so the quickest."""
    return lambda rows: rows.new_zeros(len(rows), len(weight))


def exact_for_few(weight: Tensor) -> Product:
    """Exact for up to three rows alone."""
    return lambda rows: (
        functional.linear(rows, weight) if len(rows) <= 3 else rows.new_zeros(len(rows), len(weight))
    )


def test_the_quickest_way_is_not_chosen_where_it_is_not_exact() -> None:
    weights = [torch.randn(512, 2048) for _ in range(2)]
    ways: list[Way] = [plainly, quickly, exact_for_few]
    chosen = choose_ways(weights, ways)
    assert quickly not in chosen.values()
    assert not [count for count, way in chosen.items() if way is exact_for_few and count > 3]


def test_every_shape_is_tried() -> None:
    """A way may be exact for the largest weight only."""
    weights = [torch.randn(512, 2048), torch.randn(256, 1024)]

    def exact_for_the_largest(weight: Tensor) -> Product:
        return plainly(weight) if len(weight) == 512 else quickly(weight)

    assert set(choose_ways(weights, [plainly, exact_for_the_largest]).values()) == {plainly}
