"""Filters at their edges, and the distribution the page is shown."""

import pytest
import torch

from glassformer.engine.distribution import describe_row
from glassformer.engine.filter import FilterChain
from glassformer.engine.sampling import Sampler
from glassformer.errors import ModelFailed
from glassformer.protocol.messages import Distribution, Sampling, Token

ROW = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])


def show(
    sampling: Sampling, limit: int = 5, chosen: int | None = None, row: torch.Tensor = ROW
) -> Distribution:
    return describe_row(
        row,
        [0],
        FilterChain(sampling, prompt_count=1),
        limit=limit,
        pos=0,
        token=lambda i: Token(id=i, text=str(i)),
        chosen=chosen,
    )


def test_a_seed_repeats() -> None:
    sampling = Sampling(temperature=1.5, top_p=1.0, seed=9)
    first, second = Sampler(sampling), Sampler(sampling)
    assert [first.draw(ROW, [0]) for _ in range(20)] == [second.draw(ROW, [0]) for _ in range(20)]


def test_without_a_seed_draws_differ() -> None:
    row = torch.zeros(1000)
    sampling = Sampling(temperature=1.0, top_p=1.0)
    assert [Sampler(sampling).draw(row, [0]).token_id for _ in range(3)] != [
        Sampler(sampling).draw(row, [0]).token_id for _ in range(3)
    ]


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-5])
def test_no_temperature_is_greedy(temperature: float) -> None:
    draw = Sampler(Sampling(temperature=temperature)).draw(ROW, [0])
    assert (draw.token_id, draw.probability) == (4, 1.0)
    assert draw.logprob == pytest.approx(float(ROW.log_softmax(-1)[4]))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=100),
        Sampling(temperature=0.001, repetition_penalty=100),
        Sampling(temperature=1, repetition_penalty=1e-38),
        Sampling(temperature=1, top_k=1_000_000, top_p=1e-9),
        Sampling(temperature=0, repetition_penalty=1e-38),
    ],
)
def test_extreme_settings_still_draw(sampling: Sampling) -> None:
    for row in (ROW, ROW * 1e30, torch.full((5,), -3.0)):
        draw = Sampler(sampling).draw(row, [0, 4])
        assert 0 <= draw.token_id < 5
        assert 0 < draw.probability <= 1


def test_a_broken_model_is_named() -> None:
    for row in (torch.full((5,), torch.nan), torch.full((5,), -torch.inf), torch.tensor([1.0, torch.inf])):
        with pytest.raises(ModelFailed, match="not a number"):
            Sampler(Sampling()).draw(row, [0])


def test_filters_prune_as_transformers_do() -> None:
    scores = FilterChain(Sampling(temperature=1.0, top_k=2, top_p=1.0)).filter(ROW)
    assert torch.isneginf(scores).tolist() == [False, True, True, True, False]


def test_the_distribution_says_what_pruned_a_token() -> None:
    shown = show(Sampling(temperature=1.0, top_k=3, top_p=0.7))
    by_id = {candidate.token.id: candidate for candidate in shown.candidates}
    assert [candidate.token.id for candidate in shown.candidates] == [4, 0, 1, 2, 3]
    assert [by_id[i].pruned_by for i in (4, 0, 1, 2, 3)] == [None, None, "top_p", "top_k", "top_k"]
    assert sum(candidate.filtered_probability for candidate in shown.candidates) == pytest.approx(1)
    assert [by_id[i].probability for i in range(5)] == pytest.approx(ROW.softmax(-1).tolist())


def test_what_is_not_listed_is_summed() -> None:
    shown = show(Sampling(temperature=1.0, top_p=1.0), limit=2, chosen=3)
    assert [candidate.token.id for candidate in shown.candidates] == [4, 0, 3]
    assert shown.rest_count == 2
    listed = sum(candidate.probability for candidate in shown.candidates)
    assert shown.rest_probability == pytest.approx(1 - listed, abs=1e-6)


def test_entropy_is_in_bits() -> None:
    assert show(Sampling(), row=torch.zeros(8)).entropy_bits == pytest.approx(3.0)
    assert show(Sampling(), row=torch.tensor([0.0, -torch.inf])).entropy_bits == 0.0


def test_greedy_keeps_one_token() -> None:
    shown = show(Sampling(temperature=0))
    assert [candidate.filtered_probability for candidate in shown.candidates] == [1.0, 0.0, 0.0, 0.0, 0.0]
