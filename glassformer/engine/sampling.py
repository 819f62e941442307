"""How the next token is drawn, and how the distribution it was drawn from looks.

The filters are transformers' own, in the order of its `generate()`: repetition penalty, temperature, top-k,
top-p. Knows nothing about text or models beyond one row of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from glassformer.errors import ModelFailed
from glassformer.protocol.messages import Sampling

if TYPE_CHECKING:
    from glassformer.engine.request import GenerationRequest
    from glassformer.model.load import LoadedModel

Pruner = Literal["top_k", "top_p"]
PRUNERS: dict[type[LogitsProcessor], Pruner] = {TopKLogitsWarper: "top_k", TopPLogitsWarper: "top_p"}

# Below this a division by the temperature overflows float32 for ordinary logits; the draw is greedy long before.
COLDEST = 1e-4
# Penalised or heated scores stay this far from float32's largest number, so that a softmax has no inf - inf.
LARGEST_SCORE = 1e30


@dataclass(frozen=True, slots=True)
class Draw:
    """A drawn token with its probability after the filters and its log probability under the model's own distribution.

    `top` lists (id, log probability) of the likeliest tokens of the latter, as many as were asked for.
    """

    token_id: int
    probability: float
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def make_sampler(request: GenerationRequest, loaded: LoadedModel) -> Sampler:
    """The sampler of one request to one model. Raises BadValue for what that model cannot do."""
    return Sampler(request.sampling)


class Sampler:
    """Draws one request's tokens: its filters and its own random numbers, seeded if asked."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.generator = torch.Generator()  # on the CPU, so that a seed means the same on every device
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(sampling.seed)

    def draw(self, logits: Tensor, previous_ids: list[int], *, top: int = 0) -> Draw:
        """Draw from `logits` (Float[Tensor, "vocab"]), after the tokens `previous_ids`. Raises ModelFailed."""
        row = check_row(logits)
        scores = filter_scores(row, previous_ids, self.sampling)
        if is_greedy(self.sampling):
            token_id = int(scores.argmax())
            probability = 1.0
        else:
            probabilities = scores.softmax(-1)
            token_id = int(torch.multinomial(probabilities, 1, generator=self.generator))
            probability = float(probabilities[token_id])
        logprobs = row.log_softmax(-1)
        best = logprobs.topk(min(top, len(row)))
        likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return Draw(token_id, probability, float(logprobs[token_id]), likeliest)


def is_greedy(sampling: Sampling) -> bool:
    return sampling.temperature < COLDEST


def filters(sampling: Sampling) -> list[LogitsProcessor]:
    """The filters that do something, in the order of `generate()`."""
    found: list[LogitsProcessor] = []
    if sampling.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if is_greedy(sampling):
        return found
    if sampling.temperature != 1.0:
        found.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k > 0:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        found.append(TopPLogitsWarper(sampling.top_p))
    return found


def filter_scores(row: Tensor, previous_ids: list[int], sampling: Sampling) -> Tensor:
    """`row` (Float[Tensor, "vocab"]) after all filters; pruned tokens are -inf."""
    return trace_filters(row, previous_ids, sampling)[0]


def trace_filters(
    row: Tensor, previous_ids: list[int], sampling: Sampling
) -> tuple[Tensor, dict[Pruner, Tensor]]:
    """The filtered scores, and for each pruning filter the tokens it pruned (Bool[Tensor, "vocab"])."""
    ids = torch.tensor([previous_ids], dtype=torch.long)
    scores = row[None]
    pruned: dict[Pruner, Tensor] = {}
    for apply in filters(sampling):
        before = scores
        scores = apply(ids, scores)
        name = PRUNERS.get(type(apply))
        if name is not None:
            pruned[name] = torch.isneginf(scores[0]) & ~torch.isneginf(before[0])
        else:
            scores = scores.clamp(max=LARGEST_SCORE)
    return scores[0], pruned


def check_row(logits: Tensor) -> Tensor:
    """`logits` as a float32 row on the CPU. Raises ModelFailed where the model gave no usable number."""
    row = logits.detach().to(device="cpu", dtype=torch.float32, copy=True)
    if torch.isnan(row).any() or torch.isposinf(row).any() or not torch.isfinite(row).any():
        raise ModelFailed(
            "The model's own output is not a number; its weights or number format are at fault."
        )
    return row
