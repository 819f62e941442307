"""From a request to a run, and a run in the caller's own thread. The server has its engine do the latter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import TraceRequest
from glassformer.run.run import Models, Run
from glassformer.run.run_request import check_request, encode_request
from glassformer.run.run_store import RunStore

# Called with the token ids and the request's field they came from; raises what is to be refused.
Check = Callable[[Sequence[int], str], None]


def open_run(
    store: RunStore,
    loaded: LoadedModel,
    body: TraceRequest,
    *,
    check: Check = lambda ids, field: None,
    models: Models | None = None,
) -> Run:
    """A new run of what a request asks for, with its memory set aside; whoever runs it ends it.

    `models` keeps its model in memory, where nobody else does.

    Looks into the model first, if nobody has. Raises BadValue, TooLong, UnknownAddress and NoRoom.
    """
    check_request(body)
    token_ids, field = encode_request(body, loaded)
    check(token_ids, field)
    run = store.create(
        loaded,
        token_ids,
        len(token_ids),
        request=GenerationRequest(
            token_ids, body.sampling, max_new_tokens=body.max_new_tokens, stop=tuple(body.stop)
        ),
        prompt_field=field,
        interventions=body.interventions,
        prompt=body.prompt,
        messages=body.messages,
        models=models,
    )
    # Here, so that who tells of it never waits for a tokenizer.
    _ = run.prompt
    return run


def record(run: Run) -> Run:
    """Do what the run is to do, in this thread. Raises what the model raises, and ends the run then too."""
    assert run.request is not None
    error: BaseException | None = None
    run.hold_model()
    run.status = "running"
    try:
        for token in decode(run.loaded, run.request, watcher=run.watcher):
            run.take(token)
    except BaseException as exc:
        error = exc
        raise
    finally:
        run.release()
        run.end(error)
    return run
