"""Tracing a block: what its graph may not hide, what a call must be like, and products written as sums."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glassformer.compute.block_trace import NotTraceable, multiply_row, trace_block


class Block(nn.Module):
    """A linear map, with whatever a test wants done beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, rows: Tensor, scale: float = 1.0, mask: Tensor | None = None) -> Any:
        return self.linear(rows) * scale


ROW = torch.randn(1, 1, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("parts", [1, 3, 4])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_row_times_a_weight(dtype: torch.dtype, parts: int, has_bias: bool) -> None:
    row, weight = torch.randn(1, 24).to(dtype), torch.randn(24, 10).to(dtype)
    bias = torch.randn(10).to(dtype) if has_bias else None
    expected = row.double() @ weight.double() + (0 if bias is None else bias.double())
    found = multiply_row(row, weight, bias, parts=parts)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


def test_a_weight_of_fewer_features_than_parts() -> None:
    row, weight = torch.randn(1, 5), torch.randn(5, 2)
    torch.testing.assert_close(multiply_row(row, weight, parts=4), row @ weight)


def test_the_graph_computes_what_the_block_does() -> None:
    block = Block()
    trace = trace_block(block, (ROW,), {"scale": 3.0}, {})
    (found,) = trace.graph(*trace.weights, ROW)
    torch.testing.assert_close(trace.form.rebuild([found]), block(ROW, scale=3.0))


def test_weights_in_fewer_bits_stand_for_the_blocks_own() -> None:
    block = Block().requires_grad_(False)
    block.linear.weight.copy_(block.linear.weight.bfloat16())
    narrow = block.linear.weight.bfloat16()
    trace = trace_block(block, (ROW,), {}, {"linear.weight": narrow})
    assert any(weight.dtype == torch.bfloat16 for weight in trace.weights)
    (found,) = trace.graph(*trace.weights, ROW)
    torch.testing.assert_close(found, block(ROW))


def test_blocks_alike_have_the_same_key() -> None:
    one, other = (trace_block(Block(), (ROW,), {}, {}).key for _ in range(2))
    assert one == other
    assert trace_block(Block(), (ROW,), {"scale": 2.0}, {}).key != one


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((torch.randn(1, 2, 8),), {"scale": 1.0}),
        ((ROW.double(),), {"scale": 1.0}),
        ((torch.randn(1, 1, 16)[..., ::2],), {"scale": 1.0}),
        ((ROW,), {"scale": 2.0}),
        ((ROW,), {"scale": ROW}),
        ((ROW,), {"scale": 1.0, "mask": None}),
        ((1.0,), {"scale": 1.0}),
    ],
)
def test_calls_that_are_not_like_the_traced_one(args: Any, kwargs: Any) -> None:
    trace = trace_block(Block(), (ROW,), {"scale": 1.0}, {})
    (matched,) = trace.form.match((ROW,), {"scale": 1.0}) or []
    assert matched is ROW
    assert trace.form.match(args, kwargs) is None


class Changing(Block):
    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        return rows.add_(self.linear(rows))


class Counting(Block):
    def forward(self, rows: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.linear(rows), 1


class Holding(Block):
    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        return self.linear(rows) + torch.tensor(0.5)


class Branching(Block):
    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        return self.linear(rows) if float(rows.sum()) > 0 else rows


class Remembering(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(1, 1, 8))

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        self.state = self.state + rows
        return self.linear(self.state)


@pytest.mark.parametrize("kind", [Changing, Counting, Holding, Remembering])
def test_what_a_graph_would_not_show_is_refused(kind: type[Block]) -> None:
    with pytest.raises(NotTraceable):
        trace_block(kind(), (ROW.clone(),), {}, {})


class Given:
    """Something that a block may put numbers into."""


@pytest.mark.parametrize("given", [Given(), {"shared": Given()}, [Given()]])
def test_a_block_that_is_given_what_may_change_is_refused(given: object) -> None:
    with pytest.raises(NotTraceable):
        trace_block(Block(), (ROW,), {"mask": given}, {})


def test_weights_that_are_not_plain_numbers_are_refused() -> None:
    class Packed(nn.Parameter):
        pass

    block = Block()
    block.linear.weight = Packed(block.linear.weight.detach(), requires_grad=False)
    with pytest.raises(NotTraceable, match="plain"):
        trace_block(block, (ROW,), {}, {})


def test_only_the_tracing_thread_seems_to_compile() -> None:
    seen: dict[str, bool] = {}

    class Asking(Block):
        def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
            seen["here"] = bool(torch.compiler.is_compiling())
            with ThreadPoolExecutor(1) as pool:
                seen["elsewhere"] = pool.submit(lambda: bool(torch.compiler.is_compiling())).result()
            return self.linear(rows)

    trace_block(Asking(), (ROW,), {}, {})
    assert seen == {"here": True, "elsewhere": False}
    assert torch.compiler.is_compiling() is False


def test_what_depends_on_numbers_is_refused() -> None:
    with pytest.raises(Exception, match=r"data-dependent|DataDependent"):
        trace_block(Branching(), (ROW,), {}, {})
    assert not torch.compiler.is_compiling()
