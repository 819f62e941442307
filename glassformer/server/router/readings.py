"""What mattered for a decision of a recording: the reading."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from glassformer.protocol.reading import Reading
from glassformer.server.query_field import Against, Position, TokenId
from glassformer.server.router.traces import find_feed
from glassformer.server.services import ServicesOf

router = APIRouter(prefix="/api/traces", tags=["readings"])


@router.get("/{trace_id}/reading", response_model=Reading)
async def read_reading(
    trace_id: str,
    services: ServicesOf,
    pos: Position = None,
    token: TokenId = None,
    versus: Against = "none",
) -> Response:
    """What each part adds to a token's logit, the words at each depth, what heads read, and the stream's size."""
    run = find_feed(services, trace_id).run
    from glassformer.reading.decision import Question, parse_versus
    from glassformer.reading.reading import read

    question = Question(pos, token, parse_versus(versus))
    text = await services.ask(run, lambda: read(run, question).model_dump_json(exclude_none=True))
    return Response(text, media_type="application/json")
