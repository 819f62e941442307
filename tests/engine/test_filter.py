"""The filters against transformers' own processors, bit for bit."""

import pytest
import torch
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from glassformer.engine.filter import FilterChain, keep_top_p, keep_typical, sort_places
from glassformer.protocol.messages import Sampling

PLAIN = {"temperature": 1.0, "top_p": 1.0}
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


def make_rows() -> dict[str, torch.Tensor]:
    """Rows with what could go wrong: ties, two zeros, pruned tokens, one token, a vocabulary as large as they come."""
    wide = torch.randn(4096) * 4
    pruned = wide.clone()
    pruned[::3] = -torch.inf
    tied = (wide * 2).round() / 2
    zeros = torch.zeros(64)
    zeros[::2] = -0.0
    return {
        "wide": wide,
        "pruned": pruned,
        "tied": tied,
        "zeros": zeros,
        "one": torch.tensor([1.0]),
        "two": torch.tensor([-1e30, 1e30]),
        "large": torch.randn(128_000) * 3,
        "flat": torch.full((1000,), -3.0),
    }


NAMES = sorted(make_rows())


@pytest.mark.parametrize("name", NAMES)
def test_sorting_is_that_of_torch(name: str) -> None:
    distance = make_rows()[name].abs()
    assert torch.equal(sort_places(distance), distance.argsort(stable=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [1e-9, 0.1, 0.5, 0.9, 0.95, 0.999, 1 - 1e-9])
def test_top_p_and_typical_are_those_of_transformers(name: str, share: float) -> None:
    row = make_rows()[name][None]
    ids = torch.empty((1, 0), dtype=torch.long)
    assert_same_top_p(keep_top_p(row, share)[0], TopPLogitsWarper(share)(ids, row)[0])
    assert torch.equal(keep_typical(row, share), TypicalLogitsWarper(share)(ids, row))


def assert_same_top_p(found: torch.Tensor, expected: torch.Tensor) -> None:
    """The same tokens, but for those equally likely at the edge: of them the same number."""
    assert torch.equal(found.sort().values, expected.sort().values)
    least = found[found > -torch.inf].min()
    differing = found != expected
    assert (torch.maximum(found, expected)[differing] == least).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("sampling", "processors"),
    [
        ({"repetition_penalty": 1.3}, [RepetitionPenaltyLogitsProcessor(1.3)]),
        ({"repetition_penalty": 0.7}, [RepetitionPenaltyLogitsProcessor(0.7)]),
        ({"temperature": 0.6}, [TemperatureLogitsWarper(0.6)]),
        ({"top_k": 7}, [TopKLogitsWarper(7)]),
        ({"min_p": 0.05}, [MinPLogitsWarper(0.05)]),
        ({"min_p": 1.0}, [MinPLogitsWarper(1.0)]),
        (
            {
                "repetition_penalty": 1.1,
                "temperature": 1.7,
                "top_k": 300,
                "top_p": 0.97,
                "min_p": 0.01,
                "typical_p": 0.9,
            },
            [
                RepetitionPenaltyLogitsProcessor(1.1),
                TemperatureLogitsWarper(1.7),
                TopKLogitsWarper(300),
                TopPLogitsWarper(0.97),
                MinPLogitsWarper(0.01),
                TypicalLogitsWarper(0.9),
            ],
        ),
    ],
)
def test_chains_are_those_of_transformers(
    name: str, sampling: dict[str, float], processors: list[LogitsProcessor]
) -> None:
    row = make_rows()[name]
    ids = [token_id % len(row) for token_id in IDS]
    chain = FilterChain(Sampling(**(PLAIN | sampling)), prompt_count=3)
    chain.read(ids[:4])
    chain.read(ids)
    expected = row[None]
    stages = list(chain.apply(row))
    assert len(stages) == len(processors)
    for (filter_name, found), process in zip(stages, processors, strict=True):
        expected = process(torch.tensor([ids]), expected)
        if filter_name == "top_p":
            assert_same_top_p(found, expected[0])
            expected = found[None]
        assert torch.equal(found, expected[0].clamp(max=1e30))
    assert torch.equal(chain.filter(row), stages[-1][1])


def test_a_bias_is_that_of_transformers() -> None:
    row, bias = make_rows()["wide"], {0: -100.0, 17: 2.5, 4095: 100.0}
    found = FilterChain(Sampling(**PLAIN, logit_bias=bias)).filter(row)
    process = SequenceBiasLogitsProcessor([[[token_id], value] for token_id, value in bias.items()])
    assert torch.equal(found, process(torch.tensor([IDS]), row[None])[0])


@pytest.mark.parametrize(("presence", "frequency"), [(0.5, 0.0), (0.0, 0.7), (1.5, -0.25), (-2.0, 2.0)])
def test_presence_and_frequency_are_the_published_formula(presence: float, frequency: float) -> None:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, over generated tokens only (OpenAI's API reference)."""
    row, prompt_count = make_rows()["wide"], 4
    chain = FilterChain(
        Sampling(**PLAIN, presence_penalty=presence, frequency_penalty=frequency), prompt_count=prompt_count
    )
    for length in range(1, len(IDS) + 1):
        chain.read(IDS[:length])
        expected = row.clone()
        for token_id in set(IDS[prompt_count:length]):
            count = IDS[prompt_count:length].count(token_id)
            expected[token_id] += -count * frequency - (count > 0) * presence
        assert torch.allclose(chain.filter(row), expected, rtol=0, atol=1e-6)


def test_many_tokens_are_counted() -> None:
    ids = [token_id % 700 for token_id in range(0, 5000, 3)]
    chain = FilterChain(Sampling(**PLAIN, frequency_penalty=1.0, repetition_penalty=1.5), prompt_count=0)
    for length in range(1, len(ids) + 1, 37):
        chain.read(ids[:length])
    chain.read(ids)
    row = torch.ones(1000)
    counts = torch.bincount(torch.tensor(ids), minlength=1000)
    expected = torch.where(counts > 0, torch.tensor(1 / 1.5), torch.tensor(1.0)) - counts
    assert torch.allclose(chain.filter(row), expected)


def test_filters_leave_the_row_as_it_is() -> None:
    row = make_rows()["wide"]
    before = row.clone()
    sampling = Sampling(
        temperature=0.5,
        top_k=50,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.8,
        repetition_penalty=1.2,
        presence_penalty=1,
        frequency_penalty=1,
        logit_bias={5: 3.0},
    )
    chain = FilterChain(sampling)
    chain.read(IDS)
    chain.filter(row)
    assert torch.equal(row, before)
