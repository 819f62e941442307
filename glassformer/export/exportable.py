"""A finished run, with what an export says of its model."""

from __future__ import annotations

from dataclasses import dataclass

from glassformer.errors import BadValue
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import ModelSummary, Sampling, TraceRequest
from glassformer.run.record import open_run
from glassformer.run.record import record as record_run
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

# The recording of one export is all there is: its residuals are never given up.
BUDGET_BYTES = 2**40


@dataclass(frozen=True, slots=True)
class Exportable:
    """A finished run, and the model as a server would list it."""

    run: Run
    model: ModelSummary


def record(
    loaded: LoadedModel, model: ModelSummary, prompt: str, *, max_new_tokens: int, sampling: Sampling
) -> Exportable:
    """Run `prompt` and keep everything the page shows of it. Raises BadValue, TooLong or ModelFailed."""
    if not prompt:
        raise BadValue("prompt must not be empty.", field="prompt")
    body = TraceRequest(
        model_id=loaded.model_id, prompt=prompt, max_new_tokens=max_new_tokens, sampling=sampling
    )
    return Exportable(record_run(open_run(RunStore(BUDGET_BYTES), loaded, body)), model)
