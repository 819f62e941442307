"""How probable the model finds a text it is given: the log probability of each token after those before it.

Costs the forwards of a prompt, and a row of logits for each of its positions.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor

from glassformer.engine.generation import decode
from glassformer.engine.request import GenerationRequest
from glassformer.engine.sampling import check_row
from glassformer.model.load import LoadedModel


@dataclass(frozen=True, slots=True)
class Score:
    """The natural logarithm of a token's probability under the model's own distribution.

    `top` lists (id, logprob) of the likeliest tokens in its place, best first.
    """

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Scoring:
    """Watches the forwards of a prompt and keeps the score of each next token."""

    token_ids: list[int]
    top: int
    scores: list[Score] = field(default_factory=list)
    is_alone = False

    def wanted(self) -> frozenset[str]:
        return frozenset({"lm_head"})

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        return nullcontext()

    def see(self, capture: object, rows: slice, logits: Tensor) -> None:
        for row, token_id in zip(logits, self.token_ids[len(self.scores) + 1 :], strict=False):
            logprobs = check_row(row).log_softmax(-1)
            best = logprobs.topk(min(self.top, len(logprobs)))
            likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            self.scores.append(Score(float(logprobs[token_id]), likeliest))

    def adopt(self, other: object, count: int) -> bool:
        return False


def score_tokens(
    loaded: LoadedModel, token_ids: list[int], *, top: int = 0, cancelled: threading.Event | None = None
) -> list[Score]:
    """The scores of all of `token_ids` but the first; fewer where `cancelled` is set meanwhile.

    Raises BadValue, TooLong and ModelFailed.
    """
    scoring = Scoring(token_ids, top)
    for _ in decode(
        loaded, GenerationRequest(token_ids, max_new_tokens=0), cancelled=cancelled, watcher=scoring
    ):
        pass
    return scoring.scores
