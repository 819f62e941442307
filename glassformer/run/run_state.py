"""What is told of a recording and of the tokens it wrote, to a page or into an exported folder."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glassformer.protocol.messages import Adopted, Step, Token, TraceState

if TYPE_CHECKING:
    from glassformer.engine.generation_request import DecodedToken
    from glassformer.loading.loaded import LoadedModel
    from glassformer.run.run import Run


def describe_step(loaded: LoadedModel, token: DecodedToken) -> Step:
    """One generated token."""
    return Step(
        pos=token.pos,
        token=loaded.token(token.token_id),
        probability=token.probability,
        model_probability=min(1.0, math.exp(token.logprob)),
        text=token.text,
    )


def describe_state(
    run: Run, *, tokens: Sequence[Token] = (), tokens_per_sec: float | None = None
) -> TraceState:
    """A run as it is now, with the `tokens` given: there may be very many."""
    recording = run.recording
    return TraceState(
        id=run.id,
        model_id=run.model_id,
        status=run.status,
        finish_reason=run.finish_reason,
        error=run.error,
        tokens=list(tokens),
        prompt=run.prompt,
        messages=run.messages,
        prompt_count=run.prompt_count,
        positions=run.positions,
        rewritten=recording.rewritten,
        tokens_per_sec=tokens_per_sec,
        bytes=run.nbytes,
        batched_difference=run.batched_difference,
        rebuilt_difference=finite(recording.rebuilt_difference),
        interventions=list(run.interventions),
        sampling=run.sampling,
        adopted=[Adopted(trace_id=run_id, positions=count) for run_id, count in recording.ancestors],
    )


def finite(difference: float | None) -> float | None:
    """A difference as a message takes it; one that is not finite is the largest there is."""
    return None if difference is None else min(difference, sys.float_info.max)
