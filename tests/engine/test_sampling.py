"""Drawing against transformers' own `generate()`, at its edges, and alone or beside others."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from glassformer.compute.library import find_cache_name
from glassformer.engine.constraint import make_matcher
from glassformer.engine.filter import FilterChain
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sampling import Sampler, make_sampler, pick_token
from glassformer.errors import BadValue, ModelFailed
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Constraint, Sampling

ROW = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0])


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


# --- against generate() --------------------------------------------------------------------------


def write(loaded: LoadedModel, ids: list[int], sampling: Sampling, count: int) -> list[int]:
    """As `generate()` runs the model, each token drawn by our sampler."""
    sampler = make_sampler(GenerationRequest(ids, sampling, max_new_tokens=count), loaded)
    cache = {find_cache_name(loaded.model): DynamicCache(config=loaded.config)}
    written, new = list(ids), list(ids)
    while len(written) < len(ids) + count and (len(written) == len(ids) or written[-1] not in loaded.eos_ids):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([new]), use_cache=True, **cache).logits
        new = [sampler.draw(logits[0, -1], written).token_id]
        written += new
    return written[len(ids) :]


def generate(loaded: LoadedModel, ids: list[int], count: int, **options: Any) -> list[int]:
    model: Any = loaded.model
    out = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=count,
        **options,
    )
    return out[0, len(ids) :].tolist()


OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


@pytest.mark.parametrize("seed", [0, 3, 2**40])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 1.9},
        {"top_k": 1},
        {"top_k": 12},
        {"top_p": 0.6},
        {"min_p": 0.2},
        {"typical_p": 0.4},
        {"repetition_penalty": 1.4},
        {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2},
        {
            "temperature": 1.3,
            "top_k": 90,
            "top_p": 0.95,
            "min_p": 0.01,
            "typical_p": 0.9,
            "repetition_penalty": 0.9,
        },
    ],
    ids=str,
)
def test_seeded_draws_are_those_of_generate(
    loaded: LoadedModel, settings: dict[str, float], seed: int
) -> None:
    ids = loaded.encode("the quick brown fox")
    torch.manual_seed(seed)
    expected = generate(loaded, ids, 30, do_sample=True, **(OFF | settings))
    assert write(loaded, ids, Sampling(**(OFF | settings), seed=seed), 30) == expected


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_bias_is_that_of_generate(loaded: LoadedModel, temperature: float) -> None:
    ids = loaded.encode("the ball")
    bias = {40: 6.0, 41: 3.5, 300: -100.0}
    sampling = Sampling(**(OFF | {"temperature": temperature}), logit_bias=bias, seed=5)
    torch.manual_seed(5)
    drawn = {"do_sample": True, **OFF, "temperature": temperature} if temperature else {"do_sample": False}
    pairs = [[[token_id], value] for token_id, value in bias.items()]
    assert write(loaded, ids, sampling, 30) == generate(loaded, ids, 30, sequence_bias=pairs, **drawn)


def test_a_greedy_penalty_is_that_of_generate(loaded: LoadedModel) -> None:
    ids = loaded.encode("the quick brown fox")
    sampling = Sampling(temperature=0, repetition_penalty=1.3)
    expected = generate(loaded, ids, 30, do_sample=False, repetition_penalty=1.3)
    assert write(loaded, ids, sampling, 30) == expected


def test_a_constraint_is_that_of_generate_with_its_allowed_tokens(llama: LoadedModel) -> None:
    """It stands where `generate()` has its own hook for allowed tokens: after penalties, before temperature."""
    ids = llama.encode("Who has the ball?")
    constraint = Constraint(regex="(Mia|Tom|[0-9]{2,4}) has [a-z]{1,6}[.]")
    settings = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "repetition_penalty": 1.3}

    def allowed(_: int, so_far: torch.Tensor) -> list[int]:
        matcher = make_matcher(constraint, llama)
        matcher.consume(so_far[len(ids) :].tolist())
        return matcher.allowed(llama.vocab).nonzero()[:, 0].tolist()

    for seed in range(6):
        torch.manual_seed(seed)
        expected = generate(llama, ids, 30, do_sample=True, prefix_allowed_tokens_fn=allowed, **settings)
        assert write(llama, ids, Sampling(**settings, seed=seed, constraint=constraint), 30) == expected
        assert expected[-1] in llama.eos_ids


# --- each request its own ------------------------------------------------------------------------


def test_draws_do_not_depend_on_what_is_drawn_beside_them() -> None:
    rows = torch.randn(40, 500)
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=4, presence_penalty=1.0)

    def draw(sampler: Sampler, ids: list[int], row: torch.Tensor) -> int:
        ids.append(sampler.draw(row, ids).token_id)
        return ids[-1]

    first, ids = Sampler(sampling, prompt_count=1), [0]
    alone = [draw(first, ids, row) for row in rows]
    second, other, ids, other_ids = Sampler(sampling, prompt_count=1), Sampler(Sampling()), [0], [0]
    beside = []
    for row in rows:
        draw(other, other_ids, row)
        torch.rand(3)
        beside.append(draw(second, ids, row))
    assert beside == alone


@pytest.mark.parametrize("vocab", [1, 7, 400, 32_000, 128_000])
def test_a_repeatable_pick_is_that_of_multinomial(vocab: int) -> None:
    first, second = torch.Generator().manual_seed(8), torch.Generator().manual_seed(8)
    for run in range(20):
        probabilities = (torch.randn(vocab) * run / 4).softmax(-1)
        if run % 2:
            probabilities[probabilities < probabilities.max() / 20] = 0.0
        kept = probabilities.nonzero()[:, 0] if run % 4 < 2 else None
        expected = int(torch.multinomial(probabilities, 1, generator=first))
        assert pick_token(probabilities, kept, second, is_repeatable=True) == expected
    assert torch.equal(first.get_state(), second.get_state())


def test_an_unseeded_draw_follows_the_distribution() -> None:
    """Which is drawn by a shorter way; a chi-squared of 11 degrees of freedom is below 31.3 in 999 of 1,000."""
    torch.manual_seed(1)
    row = torch.randn(3000)
    sampler = Sampler(Sampling(temperature=0.5, top_k=12, top_p=1.0))
    expected = sampler.filters.filter(row).softmax(-1)
    sampler.generator.manual_seed(11)
    count = 4000
    drawn = torch.bincount(
        torch.tensor([sampler.draw(row, [0]).token_id for _ in range(count)]), minlength=3000
    )
    kept = expected > 0
    assert int(kept.sum()) == 12
    assert int(drawn[~kept].sum()) == 0
    statistic = ((drawn - count * expected)[kept] ** 2 / (count * expected[kept])).sum()
    assert float(statistic) < 31.3


def test_forced_tokens_come_first(loaded: LoadedModel) -> None:
    ids, forced = loaded.encode("the"), [33, 7, 120]
    sampling = Sampling(**OFF, seed=2, forced_token_ids=forced, frequency_penalty=1.0)
    written = write(loaded, ids, sampling, 20)
    assert written[:3] == forced
    sampler = make_sampler(GenerationRequest(ids, sampling), loaded)
    draws = [sampler.draw(torch.zeros(loaded.vocab), [*ids, *forced[:count]]) for count in range(4)]
    assert [draw.forced for draw in draws] == [True, True, True, False]
    assert [draw.probability for draw in draws[:3]] == [1.0, 1.0, 1.0]
    # The tokens after them are those of a prompt that ends with them, but for what a penalty counts.
    plain = Sampling(**OFF, seed=2, forced_token_ids=forced)
    assert write(loaded, ids, plain, 20)[3:] == write(loaded, [*ids, *forced], Sampling(**OFF, seed=2), 17)


def test_a_token_the_model_does_not_have_is_refused(llama: LoadedModel) -> None:
    for field, value in (("logit_bias", {llama.vocab: 1.0}), ("forced_token_ids", [1, llama.vocab])):
        request = GenerationRequest([1], Sampling(**{field: value}))
        with pytest.raises(BadValue, match=field) as caught:
            make_sampler(request, llama)
        assert caught.value.field == field


def test_nothing_left_is_named() -> None:
    row = torch.full((4,), -3e38)
    with pytest.raises(ModelFailed, match="filters left"):
        Sampler(Sampling(temperature=0.01, top_p=1.0)).draw(row, [0])
