"""How probable the model finds a text it is given: the log probability of each token after those before it.

Give `Scoring` to a generation of no new tokens. Costs the forwards of a prompt, and a row of logits for each of its
positions.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glassformer.compute.overflow import advise
from glassformer.errors import ModelFailed


@dataclass(frozen=True, slots=True)
class Score:
    """The natural logarithm of a token's probability under the model's own distribution.

    `top` lists (id, logprob) of the likeliest tokens in its place, best first.
    """

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Scoring:
    """Watches the forwards of a prompt and keeps the scores of all of its tokens but the first, in order."""

    token_ids: list[int]
    top: int
    is_alone = False
    _scores: list[Score] = field(default_factory=list)
    _dtype: torch.dtype = torch.float32

    def wanted(self, count: int) -> frozenset[str]:
        return frozenset({"lm_head"})

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        return nullcontext()

    def see(self, capture: object, rows: slice, logits: Tensor) -> None:
        self._dtype = logits.dtype
        # Row by row: the logits of a long piece are large enough once. Must not fail, others share the forward.
        for row, token_id in zip(logits, self.token_ids[len(self._scores) + 1 :], strict=False):
            logprobs = row.detach().to(device="cpu", dtype=torch.float32).log_softmax(-1)
            best = logprobs.topk(min(self.top, len(logprobs)))
            likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            self._scores.append(Score(float(logprobs[token_id]), likeliest))

    def adopt(self, other: object, count: int) -> bool:
        return False

    def read(self) -> list[Score]:
        """The scores, once the generation is over. Raises ModelFailed where the model's output is unusable."""
        if any(math.isnan(score.logprob) for score in self._scores):
            raise ModelFailed(f"The model's own output is not a number: {advise(self._dtype)}.")
        return self._scores
