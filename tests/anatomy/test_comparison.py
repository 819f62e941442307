"""Judging cells by their own bounds: what is allowed, what is not, and where nothing can be said."""

import math

import torch

from glassformer.anatomy.comparison import is_same, judge, tell_apart
from glassformer.operation.bounded import Bounded
from glassformer.operation.softmax import bound_softmax


def bounded(value: list[float], error: list[float]) -> Bounded:
    return Bounded(torch.tensor(value, dtype=torch.float64), torch.tensor(error, dtype=torch.float64))


def test_a_large_cell_hides_nothing_beside_it() -> None:
    expected = bounded([20_000.0, 1.0], [80.0, 0.004])
    assert judge(torch.tensor([20_040.0, 1.002]), expected).status == "close"
    found = judge(torch.tensor([20_000.0, 1.05]), expected)
    assert found.status == "refused"
    assert found.worst is not None
    assert found.worst.index == [1]
    assert not is_same(torch.tensor([[20_000.0, 1.0, 1.0]]), torch.tensor([[20_000.0, 1.1, 1.0]]))


def test_masks_nans_and_bounds_without_limit_are_refused() -> None:
    masked = bounded([-math.inf, 1.0], [0.0, 0.1])
    assert judge(torch.tensor([-math.inf, 1.0]), masked).status == "close"
    assert judge(torch.tensor([-1e30, 1.0]), masked).status == "refused"
    assert judge(torch.tensor([-math.inf, math.nan]), masked).status == "refused"
    for limit in (math.inf, math.nan):
        assert judge(torch.tensor([0.0, 1.0]), bounded([0.0, 1.0], [limit, 0.1])).status == "refused"


def test_only_what_lies_far_apart_and_near_to_one_is_told_apart() -> None:
    first, far, near = (bounded([one] * 4, [0.1] * 4) for one in (1.0, 2.0, 1.1))
    assert tell_apart(torch.full((4,), 1.02), first, [far])
    assert not tell_apart(torch.full((4,), 1.5), first, [far])  # in the middle
    assert not tell_apart(torch.full((4,), 1.02), first, [near])
    assert tell_apart(torch.full((4,), 1.02), first, [first])  # says the same
    exact = bounded([1.0, 1.0], [0.0, 0.1])
    assert not tell_apart(torch.tensor([1.0, 1.01]), exact, [bounded([1.0, 1.2], [0.0, 0.1])])


def test_a_share_may_be_pulled_down_further_than_up() -> None:
    scores, error = torch.tensor([0.0, -4.6]).double(), torch.tensor([0.0, 5.0]).double()
    found = bound_softmax(Bounded(scores, error))
    for sign in (-1, 1):
        reached = (scores + sign * error).softmax(-1)
        assert bool(((reached - found.value).abs() <= found.error).all())
