"""Recordings: run one, follow it, ask about its cells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel
from starlette.responses import Response

from glassformer.errors import UnknownTrace
from glassformer.protocol.explanation import Explanation
from glassformer.protocol.heads import Heads
from glassformer.protocol.messages import (
    Distribution,
    Lens,
    Sampling,
    TraceList,
    TraceRequest,
    TraceState,
)
from glassformer.run.run_request import check_request
from glassformer.server.framing import event
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import EventStream

if TYPE_CHECKING:
    from glassformer.run.feed import RunFeed, Told
    from glassformer.run.run import Run
    from glassformer.tiles.level import Array

# Cells of one answer of rows: 16 MiB.
MOST_CELLS = 2**22

router = APIRouter(prefix="/api/traces", tags=["recordings"])


def find_feed(services: Services, trace_id: str) -> RunFeed:
    """What is told of a recording; it counts as looked at. Raises UnknownTrace."""
    feed = services.feeds.get(trace_id)
    if feed is None:
        raise UnknownTrace(trace_id[:64])
    services.store.get(trace_id)
    feed.note_question()
    return feed


@router.post("", status_code=201, response_model=TraceState)
async def create_trace(body: TraceRequest, services: ServicesOf) -> Response:
    """Record a prompt, and what the model writes after it. Answers at once; the run goes on behind it."""
    check_request(body)
    loaded = await services.load(body.model_id)
    from glassformer.server.generation import check_count
    from glassformer.server.generation import check_request as check_length

    check_count(services, body.max_new_tokens)
    # Where nobody has looked into the model yet this runs it, which takes longer than anything quick may.
    await services.read(loaded.read_anatomy)
    feed = await services.start_run(
        loaded, body, lambda ids, field: check_length(services, loaded, ids, field=field)
    )
    services.metrics.tokens.labels("prompt").inc(feed.run.prompt_count)
    return await answer(services, feed.state, status_code=201)


async def answer(
    services: Services, describe: Callable[[], BaseModel], *, status_code: int = 200
) -> Response:
    """What `describe` says, made and written in a thread: a long recording's tokens would hold the event loop up."""
    text = await services.quick(lambda: describe().model_dump_json())
    return Response(text, status_code, media_type="application/json")


@router.get("", response_model=TraceList)
async def list_traces(services: ServicesOf) -> Response:
    feeds = list(services.feeds.values())
    return await answer(services, lambda: TraceList(traces=[feed.state() for feed in feeds]))


@router.get("/{trace_id}", response_model=TraceState)
async def read_trace(trace_id: str, services: ServicesOf) -> Response:
    return await answer(services, find_feed(services, trace_id).state)


@router.post("/{trace_id}/stop", response_model=TraceState)
async def stop_trace(trace_id: str, services: ServicesOf) -> Response:
    """End the generation within one step; what was recorded stays."""
    feed = find_feed(services, trace_id)
    feed.stop()
    return await answer(services, feed.state)


@router.delete("/{trace_id}", status_code=204)
async def delete_trace(trace_id: str, services: ServicesOf) -> Response:
    find_feed(services, trace_id)
    services.store.delete(trace_id)
    return Response(status_code=204)


@router.get("/{trace_id}/events", response_class=EventStream, status_code=200)
async def follow_trace(
    trace_id: str, services: ServicesOf, last_event_id: Annotated[str | None, Header()] = None
) -> EventStream:
    """`state`, `step` and `error` events; resumes after `Last-Event-ID`."""
    feed = find_feed(services, trace_id)
    after = (
        int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 10 else -1
    )
    async with AsyncExitStack() as stack:
        stack.enter_context(services.connection())
        return EventStream(services, frame_events(feed.events(after)), stack.pop_all())


async def frame_events(told: AsyncIterator[Told]) -> AsyncIterator[str]:
    async for one in told:
        yield event(one.data, name=one.name, event_id=one.id)


@router.get("/{trace_id}/distribution")
async def read_distribution(
    trace_id: str,
    services: ServicesOf,
    pos: Annotated[int, Query(ge=0)],
    temperature: Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)] = None,
    top_k: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
    top_p: Annotated[float | None, Query(gt=0, le=1, allow_inf_nan=False)] = None,
    min_p: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    typical_p: Annotated[float | None, Query(gt=0, le=1, allow_inf_nan=False)] = None,
    repetition_penalty: Annotated[float | None, Query(gt=0, le=100, allow_inf_nan=False)] = None,
    presence_penalty: Annotated[float | None, Query(ge=-2, le=2, allow_inf_nan=False)] = None,
    frequency_penalty: Annotated[float | None, Query(ge=-2, le=2, allow_inf_nan=False)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Distribution:
    """The next-token distribution at a recorded position, before and after each filter; nothing is run for it.

    What is left out is as the recording was made with, its bias, forced tokens and constraint too.
    """
    run = find_feed(services, trace_id).run
    changes = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
    }
    sampling = run.sampling.model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    return await services.ask(run, describe_distribution, run, pos, sampling, limit)


def describe_distribution(run: Run, pos: int, sampling: Sampling, limit: int) -> Distribution:
    from glassformer.engine.distribution import describe

    return describe(
        run.read_logits(pos),
        list(run.token_ids),
        sampling,
        loaded=run.loaded,
        pos=pos,
        prompt_count=run.prompt_count,
        limit=limit,
    )


@router.get("/{trace_id}/explain")
async def explain_cell(
    trace_id: str,
    services: ServicesOf,
    address: Annotated[str, Query(min_length=1, max_length=200)],
    index: Annotated[
        str, Query(pattern=r"^\d{1,9}(,\d{1,9}){0,7}$", description="comma-separated, in axis order")
    ],
) -> Explanation:
    """What one cell was computed from, and the same computed again."""
    from glassformer.explain.explain import explain

    run = find_feed(services, trace_id).run
    return await services.ask(run, explain, run, address, [int(part) for part in index.split(",")])


@router.get("/{trace_id}/rows", response_class=Response)
async def read_rows(
    trace_id: str,
    services: ServicesOf,
    address: Annotated[list[str], Query(min_length=1, max_length=64)],
    start: Annotated[int, Query(ge=0)],
    stop: Annotated[int, Query(ge=1)],
    level: Annotated[int, Query(ge=0, le=32)] = 0,
) -> Response:
    """Rows of sites as a live frame has them: what a page lacks that knows the rest."""
    run = find_feed(services, trace_id).run
    frame = await services.ask(run, encode_rows, run, address, start, stop, level)
    return Response(frame, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


def encode_rows(run: Run, addresses: list[str], start: int, stop: int, level: int) -> bytes:
    from glassformer.protocol.frames import encode_frame

    rows: dict[str, Array] = {}
    for address in dict.fromkeys(addresses):
        room = MOST_CELLS - sum(read.size for read in rows.values())
        rows[address] = run.read_rows(address, start, stop, level, most_cells=room)
    return encode_frame(run.id, start, stop, rows)


@router.get("/{trace_id}/lens", response_model=Lens)
async def read_lens(
    trace_id: str,
    services: ServicesOf,
    pos: Annotated[int, Query(ge=0)],
    count: Annotated[int, Query(ge=1, le=512, description="positions from `pos` on")] = 1,
    top: Annotated[int, Query(ge=1, le=100)] = 5,
    address: Annotated[
        list[str] | None, Query(max_length=256, description="residuals; all recorded ones by default")
    ] = None,
) -> Response:
    """The logit lens: what the model would write after each block. Nothing is run for it but the head."""
    run = find_feed(services, trace_id).run
    from glassformer.explain.lens import describe_lens

    text = await services.ask(run, lambda: describe_lens(run, address, pos, count, top).model_dump_json())
    return Response(text, media_type="application/json")


@router.get("/{trace_id}/heads", response_model=Heads)
async def read_heads(
    trace_id: str,
    services: ServicesOf,
    blocks: Annotated[
        str | None,
        Query(max_length=40, description="one, or first and last as 0-9; all by default"),
    ] = None,
) -> Response:
    """What every head reads over the recorded text: previous, first, repeated and following tokens, and how widely."""
    run = find_feed(services, trace_id).run
    from glassformer.reading.head_scores import score_heads

    text = await services.ask(run, lambda: score_heads(run, blocks).model_dump_json())
    return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})
