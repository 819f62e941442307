"""What experts are handed, with rows that have axes more before them, against the same flattened by hand."""

import pytest
import torch

from glassformer.reading.expert_choice import Choice

CHOSEN = torch.tensor([[0, 2], [1, 2], [3, 0], [2, 1]])
SHARES = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1]])
SPREAD = torch.zeros(4, 5).scatter(-1, CHOSEN, SHARES)
HIDDEN = torch.arange(12.0).reshape(4, 3)
# One text of four rows, and two of two.
SHAPES = [(4,), (1, 4), (2, 2)]


@pytest.mark.parametrize("rows", SHAPES)
@pytest.mark.parametrize("weights", [SHARES, SPREAD])
def test_rows_are_counted_through_all_axes_before_them(rows: tuple[int, ...], weights: torch.Tensor) -> None:
    choice = Choice(HIDDEN.reshape(*rows, 3), CHOSEN.reshape(*rows, 2), weights.reshape(*rows, -1), (0, 1, 2))
    assert [choice.chosen_at(row) for row in range(4)] == [[0, 2], [1, 2], [0, 3], [1, 2]]
    expected = weights.clone()
    expected[1, 2 if choice.is_spread else 1] = 0
    expected[3, 2 if choice.is_spread else 0] = 0
    cut = choice.without([(1, 2), (3, 2)])
    assert cut.shape == choice.weights.shape
    assert torch.equal(cut.reshape(4, -1), expected)
    assert torch.equal(choice.weights.reshape(4, -1), weights)
    alone = choice.only(2, slice(1, 4))
    assert torch.equal(alone.hidden, HIDDEN[1:])
    assert torch.equal(alone.chosen, CHOSEN[1:])
    of_two = torch.tensor([[0, 0.3], [0, 0], [0.9, 0]])
    assert torch.equal(alone.weights, of_two if not choice.is_spread else SPREAD[1:] * (torch.arange(5) == 2))
