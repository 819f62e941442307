"""What parts are worth to a decision of a recording, by test."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from glassformer.protocol.reading import MOST_PARTS, Effects, Off, Without
from glassformer.server.query_field import Against, Position, TokenId
from glassformer.server.router.traces import find_feed
from glassformer.server.services import ServicesOf

router = APIRouter(prefix="/api/traces", tags=["readings"])

InPlace = Annotated[Off, Query(description="what stands in for what a part writes")]
Blocks = Annotated[
    str | None,
    Query(max_length=40, description="parts of these blocks alone, as 20-29; `none` for the words alone"),
]
Parts = Annotated[
    list[str],
    Query(description=f"1 to {MOST_PARTS} parts, as head.24.4, mlp.3, token.17"),
]


@router.get("/{trace_id}/effects", response_model=Effects)
async def read_effects(
    trace_id: str,
    services: ServicesOf,
    pos: Position = None,
    token: TokenId = None,
    versus: Against = "mean",
    off: InPlace = "zero",
    blocks: Blocks = None,
) -> Response:
    """What each word of the text and each part of the model is worth to one decision, by test."""
    run = find_feed(services, trace_id).run
    from glassformer.reading.decision import Question, parse_versus
    from glassformer.reading.effects import read_effects

    question = Question(pos, token, parse_versus(versus))

    def answer() -> bytes:
        found = read_effects(run, question, off=off, blocks=blocks)
        return encode(found, blocks=found.blocks)

    return Response(await services.ask(run, answer), media_type="application/json")


@router.get("/{trace_id}/without", response_model=Without)
async def read_without(
    trace_id: str,
    services: ServicesOf,
    part: Parts,
    pos: Position = None,
    token: TokenId = None,
    off: InPlace = "zero",
) -> Response:
    """One decision with some parts switched off together."""
    run = find_feed(services, trace_id).run
    from glassformer.reading.decision import Question
    from glassformer.reading.without import read_without

    question = Question(pos, token)
    text = await services.ask(run, lambda: encode(read_without(run, part, question, off=off)))
    return Response(text, media_type="application/json")


def encode(message: BaseModel, **kept: object) -> bytes:
    """A message as JSON without members that do not apply, but with those of `kept`."""
    return json.dumps({**message.model_dump(exclude_none=True), **kept}, separators=(",", ":")).encode()
