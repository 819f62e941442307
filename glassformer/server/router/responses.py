"""`/v1/responses`: answers that are told in items, and that later requests may go on from."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from glassformer.errors import BadValue
from glassformer.server.error_answer import json_response
from glassformer.server.openai.asking import answer_whole, tell_ignored
from glassformer.server.openai.choices import start
from glassformer.server.openai.response_answer import ResponseAnswer
from glassformer.server.openai.response_item import tell_items
from glassformer.server.openai.response_request import ResponseRequest
from glassformer.server.response_store import StoredResponse
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import EventStream

router = APIRouter(prefix="/v1/responses", tags=["openai"])


@router.post("")
async def respond(body: ResponseRequest, request: Request, services: ServicesOf) -> Response:
    headers = tell_ignored(body, services)
    if not body.stream:
        return await answer_whole(collect(body, services), request, headers)
    async with AsyncExitStack() as stack:
        stack.enter_context(services.connection())
        answer = await begin(body, services, stack)
        return EventStream(
            services, answer.stream(), stack.pop_all(), tell=answer.tell_fault, headers=headers
        )


async def collect(body: ResponseRequest, services: Services) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        return await (await begin(body, services, stack)).collect()


async def begin(body: ResponseRequest, services: Services, stack: AsyncExitStack) -> ResponseAnswer:
    """As `start`, from where another response ended. Raises GoneResponse too."""
    if body.previous_response_id is not None:
        body.go_on_from(services.responses.go_on_from(body.previous_response_id))

    def keep(response: dict[str, Any]) -> None:
        if body.store:
            services.responses.keep(StoredResponse(response, body.input, body.before))

    return ResponseAnswer(body, await start(body, services, stack), keep)


@router.get("/{response_id}")
async def read_response(response_id: str, request: Request, services: ServicesOf) -> Response:
    if request.query_params.get("stream", "false") != "false":
        raise BadValue("A response that is kept is told whole, not as a stream.", field="stream")
    return json_response(services.responses.find(response_id).response, 200)


@router.get("/{response_id}/input_items")
async def list_items(
    response_id: str,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """What it was asked, with all that stood before that, the newest first where nothing else is said; in pages."""
    items = tell_items(response_id, services.responses.find(response_id).asked)
    if order == "desc":
        items.reverse()
    start = 0
    if after is not None:
        start = 1 + next((place for place, item in enumerate(items) if item["id"] == after), len(items))
        if start > len(items):
            raise BadValue("after is the id of an item of this response.", field="after")
    page = items[start : start + limit]
    ends = (
        {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
        if page
        else {"first_id": None, "last_id": None}
    )
    has_more = start + limit < len(items)
    return json_response({"object": "list", "data": page, "has_more": has_more, **ends}, 200)


@router.delete("/{response_id}")
async def delete_response(response_id: str, services: ServicesOf) -> Response:
    services.responses.delete(response_id)
    return json_response({"id": response_id, "object": "response", "deleted": True}, 200)
