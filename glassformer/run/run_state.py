"""What is told of a recording and of the tokens it wrote, to a page or into an exported folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glassformer.protocol.messages import Adopted, Sampling, Step, Token, TraceFinish, TraceState, TraceStatus

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
    trace: Run,
    *,
    status: TraceStatus,
    sampling: Sampling,
    finish_reason: TraceFinish | None = None,
    error: str | None = None,
    tokens: Sequence[Token] = (),
    tokens_per_sec: float | None = None,
) -> TraceState:
    """A recording as it is now, with the `tokens` given: there may be very many. `sampling` is how they are drawn."""
    return TraceState(
        id=trace.id,
        model_id=trace.loaded.model_id,
        status=status,
        finish_reason=finish_reason,
        error=error,
        tokens=list(tokens),
        prompt=trace.prompt,
        messages=trace.messages,
        prompt_count=trace.prompt_count,
        positions=trace.positions,
        rewritten=trace.recording.rewritten,
        tokens_per_sec=tokens_per_sec,
        bytes=trace.nbytes,
        batched_difference=trace.batched_difference,
        interventions=list(trace.interventions),
        sampling=sampling,
        adopted=[
            Adopted(trace_id=trace_id, positions=count) for trace_id, count in trace.recording.ancestors
        ],
    )
