"""One generation's state between forwards: its tokens so far, its random numbers, its text, how it ends.

Knows neither threads nor how a forward is run; whoever runs one gives it the logits of its last position.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.engine.generation_request import DecodedToken, FinishReason, GenerationRequest
from glassformer.engine.sampling import make_sampler
from glassformer.engine.text_pieces import Detokenizer, StopStrings
from glassformer.errors import BadValue, TooLong
from glassformer.loading.loaded import LoadedModel


class Watcher(Protocol):
    """Sees every forward of a generation. Called from the thread that runs the model, with its lock held."""

    @property
    def is_alone(self) -> bool:
        """Whether its sequence must have each forward for itself, because it changes what the model computes."""

    def wanted(self, count: int) -> frozenset[str]:
        """Addresses to capture in the next forward, of `count` rows; with `lm_head` `see` is given logits of all."""

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        """Wraps a forward whose rows `rows` are the positions `start` to `stop`."""

    def see(self, capture: Capture | None, rows: slice, logits: Tensor) -> None:
        """What that forward gave: its captured sites, and logits Float[Tensor, "pos vocab"] of its last positions."""

    def adopt(self, other: object, count: int) -> bool:
        """Take the first `count` positions over from a watcher that saw the same tokens; False where it cannot."""


class TokenSequence:
    """One generation. `ids` grow; `seen` of them have been through the model."""

    def __init__(
        self,
        loaded: LoadedModel,
        request: GenerationRequest,
        *,
        watcher: Watcher | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Raises BadValue and TooLong for a prompt the model cannot read or a sampling it cannot follow."""
        self.ids = check_prompt(loaded, request.token_ids)
        self.request = request
        self.watcher = watcher
        self.cancelled = cancelled or threading.Event()
        self.prompt_count = len(self.ids)
        self.seen = 0
        self.finish_reason: FinishReason | None = None
        self._sampler = make_sampler(request, loaded)
        self._detokenizer = Detokenizer(loaded.decode, self.ids)
        self._stops = StopStrings(request.stop)
        self._end_ids = loaded.eos_ids | request.stop_token_ids
        self._context = loaded.context
        self._loaded = loaded

    @property
    def is_alone(self) -> bool:
        """Whether each forward must hold this sequence only."""
        return self.watcher is not None and self.watcher.is_alone

    @property
    def draws(self) -> bool:
        """Whether the logits of its last token will be asked for."""
        return self.finish_reason is None and self.request.max_new_tokens > 0

    @property
    def pending(self) -> int:
        """How many positions are to be computed next. A watcher sees all that the context holds, the last token too."""
        if self.draws:
            return len(self.ids) - self.seen
        if self.watcher is None:
            return 0
        return min(len(self.ids), self._context) - self.seen

    @property
    def is_over(self) -> bool:
        """Whether no forward is needed any more."""
        return self.cancelled.is_set() or self.pending == 0

    def draw(self, logits: Tensor) -> DecodedToken:
        """The next token, from the logits of the last position (Float[Tensor, "vocab"]). Raises ModelFailed."""
        draw = self._sampler.draw(logits, self.ids, top=self.request.top_logprobs)
        pos = len(self.ids)
        self.ids.append(draw.token_id)
        is_end = draw.token_id in self._end_ids
        if is_end:
            self.finish_reason = "stop"
        elif len(self.ids) - self.prompt_count >= self.request.max_new_tokens:
            self.finish_reason = "length"
        elif len(self.ids) > self._context:
            # The token drawn from the last position is the last: there is no position to read it at.
            self.finish_reason = "context"
        # An end token says nothing, even where the tokenizer does not know it as a special one.
        text = "" if is_end else self._read(draw.token_id)
        if self._stops.found:
            self.finish_reason = "stop"
        elif self.finish_reason is not None:
            text += self._stops.add(self._detokenizer.finish()) + self._stops.finish()
        return DecodedToken(
            pos, draw.token_id, text, draw.probability, draw.logprob, draw.top, self.finish_reason
        )

    def _read(self, token_id: int) -> str:
        """The text that is certain with a new token. Stop strings see control tokens, whoever reads does not."""
        text = self._stops.add(self._detokenizer.add(token_id))
        is_hidden = token_id in self._loaded.special_ids and not self._loaded.decode([token_id])
        if is_hidden and self._stops.stops and not self._stops.found:
            text += self._stops.add(self._loaded.token(token_id).text, is_shown=False)
        return text


def check_prompt(loaded: LoadedModel, token_ids: Sequence[int], *, field: str = "prompt") -> list[int]:
    """`token_ids` as a list of our own, if the model can read them. Raises BadValue or TooLong."""
    ids = list(token_ids)
    if not ids:
        raise BadValue("The prompt has no tokens.", field=field)
    if len(ids) > loaded.context:
        raise TooLong(
            f"The prompt has {len(ids)} tokens, and this model reads at most {loaded.context}.", field=field
        )
    return ids
