"""How the next token is drawn from one row of logits: one sampler a request, with random numbers of its own.

A seeded request draws what `generate()` draws after `torch.manual_seed`, whatever else runs beside it. Costs two
passes over the vocabulary for a greedy token; for a drawn one the filters (`filter.py`) and the random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from glassformer.compute.overflow import advise
from glassformer.engine.constraint import make_matcher
from glassformer.engine.filter import PRUNERS, FilterChain
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import BadValue, ModelFailed
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling


@dataclass(frozen=True, slots=True)
class Draw:
    """A drawn token with its probability after the filters and its log probability under the model's own distribution.

    `top` lists (id, log probability) of the likeliest tokens of the latter, as many as were asked for. A `forced`
    token was asked for, not drawn.
    """

    token_id: int
    probability: float
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    forced: bool = False


def make_sampler(request: GenerationRequest, loaded: LoadedModel) -> Sampler:
    """The sampler of one request to one model. Raises BadValue for what that model cannot do.

    May take a second for a model's first constraint: not on a thread that others wait for.
    """
    return Sampler(
        request.sampling,
        prompt_count=len(request.token_ids),
        filters=make_filters(request.sampling, loaded, prompt_count=len(request.token_ids)),
    )


def make_filters(sampling: Sampling, loaded: LoadedModel, *, prompt_count: int) -> FilterChain:
    """The filters of `sampling` for a text whose first `prompt_count` tokens are given. Raises BadValue."""
    for field in ("logit_bias", "forced_token_ids"):
        if any(token_id >= loaded.vocab for token_id in getattr(sampling, field)):
            raise BadValue(f"{field}: token ids run from 0 to {loaded.vocab - 1} in this model.", field=field)
    if sampling.constraint is None:
        return FilterChain(sampling, prompt_count=prompt_count)
    if sampling.forced_token_ids:
        try:
            make_matcher(sampling.constraint, loaded).consume(sampling.forced_token_ids)
        except BadValue as exc:
            raise BadValue("forced_token_ids do not fit the constraint.", field="forced_token_ids") from exc
    matcher = make_matcher(sampling.constraint, loaded)
    return FilterChain(sampling, prompt_count=prompt_count, matcher=matcher)


class Sampler:
    """Draws one request's tokens, in order: its filters, its random numbers, seeded if asked.

    The first `prompt_count` of the ids it is shown are the prompt's.
    """

    def __init__(
        self, sampling: Sampling, *, prompt_count: int = 0, filters: FilterChain | None = None
    ) -> None:
        self.sampling = sampling
        self.prompt_count = prompt_count
        self.filters = filters or FilterChain(sampling, prompt_count=prompt_count)
        self.generator = torch.Generator()  # on the CPU, so that a seed means the same on every device
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(sampling.seed)
        self._prunes = any(link.name in PRUNERS for link in self.filters.links)

    def draw(self, logits: Tensor, previous_ids: Sequence[int], *, top: int = 0) -> Draw:
        """Draw from `logits` (Float[Tensor, "vocab"]), after the tokens `previous_ids`, which only ever grow.

        Raises ModelFailed where the model gave no usable numbers, and BadValue where a constraint came to a dead end.
        """
        row = check_row(logits)
        written = len(previous_ids) - self.prompt_count
        forced = 0 <= written < len(self.sampling.forced_token_ids)
        if forced:
            token_id, probability = self.sampling.forced_token_ids[written], 1.0
        else:
            self.filters.read(previous_ids)
            token_id, probability = self._pick(self.filters.filter(row))
        logprobs = row.log_softmax(-1)
        likeliest: tuple[tuple[int, float], ...] = ()
        if top > 0:
            found = logprobs.topk(min(top, len(row)))
            likeliest = tuple(zip(found.indices.tolist(), found.values.tolist(), strict=True))
        return Draw(token_id, probability, float(logprobs[token_id]), likeliest, forced)

    def _pick(self, scores: Tensor) -> tuple[int, float]:
        """A token of Float[Tensor, "vocab"], and its probability."""
        best = int(scores.numpy().argmax())
        if not math.isfinite(scores[best]):
            raise ModelFailed("The filters left no usable number of the model's output.")
        if self.filters.is_greedy:
            return best, 1.0
        probabilities = scores.softmax(-1)
        # Pruned tokens cannot win, so they need no random number turned into an exponential one.
        kept = torch.from_numpy(probabilities.numpy().nonzero()[0]) if self._prunes else None
        token_id = pick_token(
            probabilities, kept, self.generator, is_repeatable=self.sampling.seed is not None
        )
        return token_id, float(probabilities[token_id])


def pick_token(
    probabilities: Tensor, kept: Tensor | None, generator: torch.Generator, *, is_repeatable: bool
) -> int:
    """An index of Float[Tensor, "vocab"], none but those `kept` being possible.

    A repeatable one is `torch.multinomial(probabilities, 1)`: the largest quotient of a probability and an
    exponential random number (Efraimidis and Spirakis 2006). Most of its time goes into the logarithms of those
    numbers, one for each token there is; here only for those that can win.
    """
    some = probabilities if kept is None else probabilities[kept]
    if not is_repeatable or not has_uniform_exponentials():
        if is_repeatable:
            return int(torch.multinomial(probabilities, 1, generator=generator))
        place = int(torch.multinomial(some, 1, generator=generator))
    else:
        uniform = torch.rand(len(probabilities), dtype=torch.float64, generator=generator)
        exponential = make_exponential(uniform if kept is None else uniform[kept])
        place = int((some / exponential).numpy().argmax())
    return place if kept is None else int(kept[place])


def make_exponential(uniform: Tensor) -> Tensor:
    """Exponential random numbers as `Tensor.exponential_` makes them of Float64[Tensor, "token"] from 0 to 1."""
    return (-torch.log1p(-uniform)).float()


@cache
def has_uniform_exponentials() -> bool:
    """Whether this build of torch makes its exponential random numbers of uniform ones in the way known here."""
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    expected = torch.empty(4096).exponential_(1, generator=first)
    found = make_exponential(torch.rand(4096, dtype=torch.float64, generator=second))
    return torch.equal(found, expected) and torch.equal(first.get_state(), second.get_state())


def check_row(logits: Tensor) -> Tensor:
    """`logits` as a float32 row on the CPU, not to be changed. Raises ModelFailed without a usable number.

    The largest shows that in one pass: it is NaN where any is, and infinite where any is, or where all are -inf.
    """
    row = logits.detach().to(device="cpu", dtype=torch.float32)
    if not math.isfinite(row.max()):
        raise ModelFailed(f"The model's own output is not a number: {advise(logits.dtype)}.")
    return row
