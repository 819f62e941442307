"""What changes a row of scores before a token is drawn from it: the filters, in the order of `generate()`.

transformers' own where there is one. Two of those sort the whole vocabulary, which takes longer than the rest of a
step; they are written again around a sort that is several times as fast, with the same result bit for bit. Only
where equally likely tokens stand on both sides of top-p's edge, torch's sort leaves open which of them are kept;
here it is those with the higher ids, on every machine. Knows rows and ids, nothing about text or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

from glassformer.engine.constraint import Matcher
from glassformer.protocol.messages import Filter, Pruner, Sampling

PRUNERS: frozenset[Filter] = frozenset(get_args(Pruner))
# Below this a division by the temperature overflows float32 for ordinary logits; the draw is greedy long before.
COLDEST = 1e-4
# Penalised or heated scores stay this far from float32's largest number, so that a softmax has no inf - inf.
LARGEST_SCORE = 1e30

Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Link:
    """One filter of a chain, and what it does to Float[Tensor, "1 vocab"]."""

    name: Filter
    apply: Apply


class TokenCounts:
    """How often each token came, in arrays that grow by what is new."""

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._ids = np.empty(64, dtype=np.int64)
        self._counts = np.zeros(64, dtype=np.float32)

    def add(self, token_ids: Sequence[int]) -> None:
        for token_id in token_ids:
            place = self._place.setdefault(token_id, len(self._place))
            if place == len(self._ids):
                self._ids = np.concatenate((self._ids, np.empty_like(self._ids)))
                self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
            self._ids[place] = token_id
            self._counts[place] += 1

    @property
    def ids(self) -> Tensor:
        """Each token once, Int[Tensor, "token"]."""
        return torch.from_numpy(self._ids[: len(self._place)])

    @property
    def counts(self) -> Tensor:
        """How often it came, Float[Tensor, "token"]."""
        return torch.from_numpy(self._counts[: len(self._place)])


class FilterChain:
    """One request's filters with what they remember of its tokens. The first `prompt_count` are not its own."""

    def __init__(self, sampling: Sampling, *, prompt_count: int = 0, matcher: Matcher | None = None) -> None:
        self.sampling = sampling
        self.prompt_count = prompt_count
        self.matcher = matcher
        self.is_greedy = sampling.temperature < COLDEST
        self.links = list(self._list_links())
        self._seen = TokenCounts()
        self._written = TokenCounts()
        self._read = 0

    def read(self, token_ids: Sequence[int]) -> None:
        """Take note of what is new in `token_ids`, which only ever grow. Raises BadValue past a constraint."""
        new = token_ids[self._read :]
        written = token_ids[max(self._read, self.prompt_count) :]
        self._read = max(self._read, len(token_ids))
        if self.sampling.repetition_penalty != 1.0:
            self._seen.add(new)
        if self.sampling.presence_penalty or self.sampling.frequency_penalty:
            self._written.add(written)
        if self.matcher is not None:
            self.matcher.consume(list(written))

    def apply(self, row: Tensor) -> Iterator[tuple[Filter, Tensor]]:
        """Each filter that is on, and Float[Tensor, "vocab"] after it; pruned tokens are -inf."""
        scores = row[None]
        for link in self.links:
            scores = link.apply(scores)
            yield link.name, scores[0]

    def filter(self, row: Tensor) -> Tensor:
        """`row` (Float[Tensor, "vocab"]) after all filters."""
        for _, filtered in self.apply(row):
            row = filtered
        return row

    def _list_links(self) -> Iterator[Link]:
        sampling = self.sampling
        if sampling.logit_bias:
            yield Link("logit_bias", make_bias(sampling.logit_bias))
        if sampling.repetition_penalty != 1.0:
            penalise = RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty))
            yield Link("repetition_penalty", lambda scores: bounded(penalise(self._seen.ids[None], scores)))
        if sampling.presence_penalty:
            yield Link("presence_penalty", self._penalise_presence)
        if sampling.frequency_penalty:
            yield Link("frequency_penalty", self._penalise_frequency)
        if self.matcher is not None:
            yield Link("constraint", self._constrain)
        if self.is_greedy:
            return
        if sampling.temperature != 1.0:
            heat = processor(TemperatureLogitsWarper(float(sampling.temperature)))
            yield Link("temperature", lambda scores: bounded(heat(scores)))
        if sampling.top_k > 0:
            yield Link("top_k", processor(TopKLogitsWarper(sampling.top_k)))
        if sampling.top_p < 1.0:
            yield Link("top_p", lambda scores: keep_top_p(scores, sampling.top_p))
        if sampling.min_p > 0.0:
            yield Link("min_p", processor(MinPLogitsWarper(sampling.min_p)))
        if sampling.typical_p < 1.0:
            yield Link("typical_p", lambda scores: keep_typical(scores, sampling.typical_p))

    def _penalise_presence(self, scores: Tensor) -> Tensor:
        return scores.index_add(
            1, self._written.ids, torch.full((1, len(self._written.ids)), -self.sampling.presence_penalty)
        )

    def _penalise_frequency(self, scores: Tensor) -> Tensor:
        return scores.index_add(
            1, self._written.ids, -self.sampling.frequency_penalty * self._written.counts[None]
        )

    def _constrain(self, scores: Tensor) -> Tensor:
        assert self.matcher is not None
        if self.matcher.is_over:
            return scores
        return scores.masked_fill(~self.matcher.allowed(scores.shape[-1]), -torch.inf)


def processor(apply: LogitsProcessor) -> Apply:
    """One of transformers' that does not look at the ids."""
    no_ids = torch.empty((1, 0), dtype=torch.long)
    return lambda scores: apply(no_ids, scores)


def bounded(scores: Tensor) -> Tensor:
    return scores.clamp(max=LARGEST_SCORE)


def make_bias(logit_bias: dict[int, float]) -> Apply:
    ids = torch.tensor(list(logit_bias))
    bias = torch.tensor([list(logit_bias.values())], dtype=torch.float32)
    return lambda scores: scores.index_add(1, ids, bias)


def keep_top_p(scores: Tensor, top_p: float) -> Tensor:
    """As `TopPLogitsWarper`: without the least likely tokens that together have at most 1 - `top_p`."""
    row = scores[0].numpy()
    ordered = np.sort(row)
    cumulative = torch.from_numpy(ordered)[None].softmax(-1).cumsum(-1)[0].numpy()
    count = min(int(np.count_nonzero(cumulative <= 1 - top_p)), len(row) - 1)
    edge = ordered[count]
    removed = row < edge
    tied = count - int(np.searchsorted(ordered, edge))
    if tied > 0:
        removed[np.flatnonzero(row == edge)[:tied]] = True
    return scores.masked_fill(torch.from_numpy(removed), -torch.inf)


def keep_typical(scores: Tensor, mass: float) -> Tensor:
    """As `TypicalLogitsWarper` (Meister et al. 2022): the tokens nearest to the entropy, up to `mass` of them."""
    logprobs = scores.log_softmax(-1)
    entropy = -(logprobs * logprobs.exp()).nansum(-1, keepdim=True)
    distance = (-logprobs - entropy).abs()[0]
    # What is pruned already is infinitely far, so it need not be sorted to stand last.
    places = torch.from_numpy(np.flatnonzero(np.isfinite(distance.numpy())))
    order = places[sort_places(distance[places])]
    ordered = torch.full_like(scores, -torch.inf)
    ordered[0, : len(order)] = scores[0, order]
    last = int((ordered.softmax(-1).cumsum(-1) < mass).sum())
    if last >= len(order):
        return scores
    return scores.masked_fill(distance > distance[order[last]], -torch.inf)


def sort_places(distance: Tensor) -> Tensor:
    """`distance.argsort(stable=True)` of Float[Tensor, "place"], none negative, by NumPy's quick sort of integers.

    The bits of such a float, read as an integer, have the order of the float; the place in the lower half keeps
    equal ones in their order.
    """
    keys = distance.numpy().view(np.int32).astype(np.int64) << 32
    keys |= np.arange(len(keys))
    keys.sort()
    return torch.from_numpy(keys & 0xFFFFFFFF)
