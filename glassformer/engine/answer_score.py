"""How probable a model finds each of some answers to one prompt, whole, without writing anything.

Give `AnswerScoring` to a generation of no new tokens: for the prompt, and for the prompt with each longer answer but
its last token. Those after the first begin with what that has read, as long as it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class AnswerScoring:
    """Keeps the log probabilities of `wanted` token ids, by the position whose row tells them."""

    wanted_ids: Mapping[int, Sequence[int]]
    is_alone = False
    # By position and token id; the natural logarithm, of the model's own distribution.
    found: dict[tuple[int, int], float] = field(default_factory=dict)
    _seen: int = 0
    _stop: int = 0

    def wanted(self, count: int) -> frozenset[str]:
        return frozenset({"lm_head"} if self._seen + count > min(self.wanted_ids) else ())

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        self._stop = stop
        return nullcontext()

    def see(self, capture: object, rows: slice, logits: Tensor) -> None:
        # Must not fail, others share the forward.
        self._seen = self._stop
        for pos, ids in self.wanted_ids.items():
            row = pos - (self._stop - len(logits))
            if 0 <= row < len(logits):
                logprobs = logits[row].detach().to("cpu", torch.float32).log_softmax(-1)
                for token_id in ids:
                    self.found[pos, token_id] = float(logprobs[token_id])

    def adopt(self, other: object, count: int) -> bool:
        """What was read before is of no matter, as long as it ends before the first row that is wanted."""
        if not isinstance(other, AnswerScoring) or count > min(self.wanted_ids):
            return False
        self._seen = count
        return True
