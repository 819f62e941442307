"""The distribution the page is shown: before the filters, after each, and what pruned a token."""

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from glassformer.engine.distribution import describe, describe_row
from glassformer.engine.filter import FilterChain
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sampling import make_sampler
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Constraint, Distribution, Sampling, Token

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


def test_every_stage_is_that_of_transformers() -> None:
    torch.manual_seed(3)
    row, ids = torch.randn(2000) * 3, [4, 8, 15, 16, 23, 42]
    sampling = Sampling(
        repetition_penalty=1.2,
        temperature=1.4,
        top_k=400,
        top_p=0.95,
        min_p=0.01,
        typical_p=0.8,
    )
    shown = describe_row(
        row,
        ids,
        FilterChain(sampling, prompt_count=2),
        limit=50,
        pos=5,
        token=lambda i: Token(id=i, text=str(i)),
    )
    processors = {
        "repetition_penalty": RepetitionPenaltyLogitsProcessor(1.2),
        "temperature": TemperatureLogitsWarper(1.4),
        "top_k": TopKLogitsWarper(400),
        "top_p": TopPLogitsWarper(0.95),
        "min_p": MinPLogitsWarper(0.01),
        "typical_p": TypicalLogitsWarper(0.8),
    }
    assert [stage.filter for stage in shown.stages] == list(processors)
    scores, pruned_by = row[None], dict.fromkeys(range(2000))
    for place, (name, process) in enumerate(processors.items()):
        scores = process(torch.tensor([ids]), scores)
        probabilities = scores[0].softmax(-1)
        for token_id in scores[0].isneginf().nonzero()[:, 0].tolist():
            pruned_by[token_id] = pruned_by[token_id] or name
        for candidate in shown.candidates:
            assert candidate.stages[place] == float(probabilities[candidate.token.id])
        assert shown.stages[place].kept == int((scores[0] > -torch.inf).sum())
        entropy = (
            float(torch.distributions.Categorical(probs=probabilities.double()).entropy())
            / 0.6931471805599453
        )
        assert shown.stages[place].entropy_bits == pytest.approx(entropy, abs=1e-6)
    for candidate in shown.candidates:
        assert candidate.filtered_probability == candidate.stages[-1]
        assert candidate.pruned_by == pruned_by[candidate.token.id]
    # Listed are the best before, pruned ones too, and the best after; in the model's order.
    listed = [candidate.token.id for candidate in shown.candidates]
    order = row.sort(descending=True, stable=True).indices.tolist()
    assert listed == [token_id for token_id in order if token_id in set(listed)]
    assert set(order[:50]) <= set(listed)
    kept = scores[0].sort(descending=True, stable=True)
    assert set(kept.indices[:50][kept.values[:50] > -torch.inf].tolist()) <= set(listed)
    assert any(candidate.pruned_by for candidate in shown.candidates)


def test_a_greedy_penalty_shows_both_stages() -> None:
    shown = describe_row(
        ROW,
        [4],
        FilterChain(Sampling(temperature=0, repetition_penalty=2.0), prompt_count=1),
        limit=5,
        pos=0,
        token=lambda i: Token(id=i, text=str(i)),
    )
    assert [(stage.filter, stage.kept) for stage in shown.stages] == [
        ("repetition_penalty", 5),
        ("temperature", 1),
    ]
    best = next(candidate for candidate in shown.candidates if candidate.filtered_probability == 1.0)
    assert best.token.id == 0  # 3.0 / 2 is less than 2.0


def draw_tokens(
    loaded: LoadedModel, ids: list[int], sampling: Sampling, count: int
) -> tuple[list[int], list[torch.Tensor], list[float]]:
    """The text, the logits of its last prompt position and each after, and the probability of each drawn token."""
    sampler = make_sampler(GenerationRequest(ids, sampling), loaded)
    written, rows, probabilities = list(ids), [], []
    for _ in range(count):
        with torch.no_grad():
            rows.append(loaded.model(torch.tensor([written])).logits[0, -1])
        draw = sampler.draw(rows[-1], written)
        written.append(draw.token_id)
        probabilities.append(draw.probability)
        if draw.token_id in loaded.eos_ids:
            break
    return written, rows, probabilities


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.3, top_p=0.9, repetition_penalty=1.3, presence_penalty=1.0, seed=1),
        Sampling(temperature=1, top_p=1, frequency_penalty=1.5, logit_bias={50: 5.0}, min_p=0.02, seed=2),
        Sampling(temperature=1, top_p=1, seed=3, constraint=Constraint(regex="[a-z]{4} [0-9]{2,5}!")),
        Sampling(temperature=1, typical_p=0.7, seed=4, forced_token_ids=[60, 61, 62]),
    ],
    ids=["penalties", "bias", "constraint", "forced"],
)
def test_what_was_drawn_is_shown_as_it_was_drawn(llama: LoadedModel, sampling: Sampling) -> None:
    """A recorded text described afterwards gives each token the probability it was drawn with."""
    ids = llama.encode("the quick brown fox")
    written, rows, probabilities = draw_tokens(llama, ids, sampling, 12)
    for place, (row, probability) in enumerate(zip(rows, probabilities, strict=True)):
        pos = len(ids) - 1 + place
        shown = describe(row, written, sampling, loaded=llama, pos=pos, prompt_count=len(ids))
        chosen = next(each for each in shown.candidates if each.token.id == written[pos + 1])
        assert shown.chosen == written[pos + 1]
        assert shown.forced == (place < len(sampling.forced_token_ids))
        if not shown.forced:
            assert chosen.filtered_probability == pytest.approx(probability, rel=1e-5)
            assert chosen.pruned_by is None
    if sampling.constraint is not None:
        assert written[-1] in llama.eos_ids
        assert any(candidate.pruned_by == "constraint" for candidate in shown.candidates)


def test_a_prompt_is_under_no_constraint(llama: LoadedModel) -> None:
    ids = llama.encode("the quick brown fox")
    sampling = Sampling(temperature=1, top_p=1, constraint=Constraint(choices=["yes", "no"]))
    row = torch.randn(llama.vocab)
    within = describe(row, ids, sampling, loaded=llama, pos=0, prompt_count=len(ids))
    assert within.stages == []
    last = describe(row, ids, sampling, loaded=llama, pos=len(ids) - 1, prompt_count=len(ids))
    assert [stage.filter for stage in last.stages] == ["constraint"]
    # They stand far down the model's list, and are shown with what they became.
    left = {candidate.token.text for candidate in last.candidates if candidate.filtered_probability > 0}
    assert left <= {"y", "ye", "yes", "n", "no"}
    assert last.stages[0].kept == len(left)
    assert {"y", "n"} <= left
