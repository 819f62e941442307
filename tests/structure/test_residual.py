"""What listeners hear of the blocks of a forward, told block by block or all at once."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from glassformer.structure.residual import FEW_ROWS, ResidualTap


class Widening(nn.Module):
    """Goes on in float32 whatever it is given, as blocks with `residual_in_fp32` do."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.float() + 1e-3


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
def test_every_listener_hears_every_block_in_the_format_it_has(rows: int) -> None:
    blocks = [Widening(), Widening()]
    tap = ResidualTap(blocks)
    heard: list[dict[int, Tensor]] = [{}, {}]

    def listen(number: int, first: int, residuals: Tensor) -> None:
        for offset, residual in enumerate(residuals):
            heard[number][first + offset] = residual.clone()

    given = [torch.randn(1, rows, 8, dtype=torch.bfloat16)]
    with tap.listening(partial(listen, 0)), tap.listening(partial(listen, 1)):
        for block in blocks:
            given.append(block(given[-1]))
    for one in heard:
        assert sorted(one) == [0, 1, 2]
        for block, expected in enumerate(given):
            assert torch.equal(one[block].float(), expected[0].float())


def test_nobody_hears_other_threads_or_later_forwards() -> None:
    blocks = [Widening()]
    heard: list[int] = []
    tap = ResidualTap(blocks)
    with tap.listening(lambda first, residuals: heard.append(first)):
        blocks[0](torch.zeros(1, 2, 8))
    blocks[0](torch.zeros(1, 2, 8))
    assert heard == [0]
    assert not blocks[0]._forward_hooks
