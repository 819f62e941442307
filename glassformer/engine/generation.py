"""The generation loop: one model, one sequence, one token at a time.

Works through the model's own `prepare_inputs_for_generation` and cache, as `generate()` does, so it is right for
every family and greedy tokens are those of `generate()`. Holds the model's lock for a forward and no longer, so
that several loops take turns. Knows no HTTP and no recording: a `Watcher` sees every forward.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from glassformer.engine.request import DecodedToken, FinishReason, GenerationRequest
from glassformer.engine.sampling import make_sampler
from glassformer.engine.text import Detokenizer, StopStrings
from glassformer.errors import BadValue, TooLong
from glassformer.model.load import LoadedModel


class Watcher(Protocol):
    """Sees every forward of a decode. Called from the decoding thread, with the model's lock held."""

    def watch(self, start: int, stop: int) -> AbstractContextManager[None]:
        """Wraps the forward that computes positions `start` to `stop`."""

    def logits(self, start: int, logits: Tensor) -> None:
        """The logits that forward gave, Float[Tensor, "pos vocab"], the first for position `start`."""


def decode(
    loaded: LoadedModel,
    request: GenerationRequest,
    *,
    cancelled: threading.Event | None = None,
    watcher: Watcher | None = None,
) -> Iterator[DecodedToken]:
    """Yield generated tokens until an end token, a stop string, `max_new_tokens` or the context's end.

    Does nothing before the first `next`. Ends without a last token where `cancelled` is set. With a watcher every
    position the context holds is computed, the last token's too, and `max_new_tokens` may be 0. Raises BadValue
    and TooLong at the first `next` and ModelFailed where the model's output is unusable.
    """
    ids = check_prompt(loaded, request.token_ids)
    prompt_count = len(ids)
    sampler, forward = make_sampler(request, loaded), Forward(loaded, watcher)
    detokenizer, stops = Detokenizer(loaded.decode, ids), StopStrings(request.stop)
    end_ids = loaded.eos_ids | request.stop_token_ids
    if request.max_new_tokens == 0:
        if watcher is not None:
            forward.run(ids)
        return
    while cancelled is None or not cancelled.is_set():
        draw = sampler.draw(forward.run(ids), ids, top=request.top_logprobs)
        pos = len(ids)
        ids.append(draw.token_id)
        reason: FinishReason | None = None
        if draw.token_id in end_ids:
            reason = "stop"
        elif len(ids) - prompt_count >= request.max_new_tokens:
            reason = "length"
        elif len(ids) > loaded.context:
            # The token drawn from the last position is the last: there is no position to read it at.
            reason = "context"
        # An end token says nothing, even where the tokenizer does not know it as a special one.
        text = "" if draw.token_id in end_ids else stops.add(detokenizer.add(draw.token_id))
        if stops.found:
            reason = "stop"
        elif reason is not None:
            text += stops.add(detokenizer.finish()) + stops.finish()
        yield DecodedToken(pos, draw.token_id, text, draw.probability, draw.logprob, draw.top, reason)
        if reason is not None:
            break
    else:
        return
    is_cancelled = cancelled is not None and cancelled.is_set()
    if watcher is not None and not is_cancelled and len(ids) <= loaded.context:
        forward.run(ids)


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


class Forward:
    """Runs the model on what it has not seen of a growing sequence, through its own cache."""

    def __init__(self, loaded: LoadedModel, watcher: Watcher | None) -> None:
        self.loaded = loaded
        self.watcher = watcher
        self.seen = 0
        self.kwargs: dict[str, Any] = {}

    @torch.no_grad()
    def run(self, ids: list[int]) -> Tensor:
        """Process `ids` from where the last run ended; the logits of the last position, Float[Tensor, "vocab"]."""
        model: Any = self.loaded.model
        with self.loaded.lock:
            input_ids = torch.tensor([ids], dtype=torch.long, device=self.loaded.device)
            is_first = self.seen == 0
            if is_first:
                self.kwargs = first_kwargs(model, input_ids, keeps_all_logits=self.watcher is not None)
            inputs = model.prepare_inputs_for_generation(
                input_ids,
                next_sequence_length=None if is_first else len(ids) - self.seen,
                is_first_iteration=is_first,
                **self.kwargs,
            )
            with self.watcher.watch(self.seen, len(ids)) if self.watcher is not None else nullcontext():
                outputs = model(**inputs, return_dict=True)
            rows = outputs.logits[0]
            self.kwargs = model._update_model_kwargs_for_generation(outputs, self.kwargs)
            if self.watcher is not None:
                self.watcher.logits(self.seen, rows[-(len(ids) - self.seen) :])
            self.seen = len(ids)
            last: Tensor = rows[-1]
            return last


def first_kwargs(model: Any, input_ids: Tensor, *, keeps_all_logits: bool) -> dict[str, Any]:
    """What `generate()` would give to the first forward."""
    kwargs: dict[str, Any] = {"use_cache": True, "attention_mask": torch.ones_like(input_ids)}
    if model._supports_default_dynamic_cache():
        kwargs["past_key_values"] = DynamicCache(config=model.config.get_text_config(decoder=True))
    if not keeps_all_logits and model._supports_logits_to_keep():
        kwargs["logits_to_keep"] = 1
    return kwargs
