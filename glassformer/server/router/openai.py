"""Surface B: what the ecosystem's clients call, under `/v1`. The parts are in `glassformer.server.openai`."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassformer.errors import GlassformerError, UnknownModel
from glassformer.files.catalog import ModelSource
from glassformer.server.error_answer import json_response, parse_body
from glassformer.server.openai.answer import Answer, ChatShape, CompletionShape, fault_event
from glassformer.server.openai.asking import answer_whole, tell_ignored
from glassformer.server.openai.choices import start
from glassformer.server.openai.decision import decide, weigh
from glassformer.server.openai.decision_request import AnswersRequest, DecisionRequest, choose_decision
from glassformer.server.openai.embedding import EmbeddingRequest, embed
from glassformer.server.openai.openai_request import ChatRequest, CompletionRequest
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import EventStream

router = APIRouter(prefix="/v1", tags=["openai"])

# Models of unknown age count as old as the program's run.
STARTED_AT_SECS = int(time.time())


@router.get("/models")
async def list_models(services: ServicesOf) -> Response:
    """Bundled models, folders, and whatever is loaded."""
    return json_response({"object": "list", "data": await services.quick(describe_models, services)}, 200)


@router.get("/models/{model_id:path}")
async def read_model(model_id: str, services: ServicesOf) -> Response:
    """One of those that are listed. Another hub model can be used all the same: it is fetched when it is asked for."""
    return json_response(await services.quick(describe_model, services, model_id), 200)


@router.post("/chat/completions")
async def chat(body: ChatRequest, request: Request, services: ServicesOf) -> Response:
    return await answer(body, request, services)


@router.post("/completions")
async def complete(body: CompletionRequest, request: Request, services: ServicesOf) -> Response:
    return await answer(body, request, services)


@router.post("/embeddings")
async def embed_texts(body: EmbeddingRequest, request: Request, services: ServicesOf) -> Response:
    return await answer_whole(embed(body, services), request, tell_ignored(body, services))


@router.post("/decisions")
async def decide_questions(
    body: Annotated[DecisionRequest | AnswersRequest, parse_body(choose_decision)],
    request: Request,
    services: ServicesOf,
) -> Response:
    headers = tell_ignored(body, services)
    work = decide(body, services) if isinstance(body, DecisionRequest) else weigh(body, services)
    return await answer_whole(work, request, headers)


async def answer(body: ChatRequest | CompletionRequest, request: Request, services: Services) -> Response:
    """The whole answer as JSON, or a stream of `data:` lines; either ends its generations when the client leaves."""
    headers = tell_ignored(body, services)
    if body.stream:
        async with AsyncExitStack() as stack:
            stack.enter_context(services.connection())
            started = Answer(find_shape(body), await start(body, services, stack))
            events = started.stream(has_usage=body.has_usage_chunk)
            return EventStream(services, events, stack.pop_all(), tell=fault_event, headers=headers)
    return await answer_whole(collect(body, services), request, headers)


async def collect(body: ChatRequest | CompletionRequest, services: Services) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        return await Answer(find_shape(body), await start(body, services, stack)).collect()


def find_shape(body: ChatRequest | CompletionRequest) -> ChatShape | CompletionShape:
    return ChatShape() if isinstance(body, ChatRequest) else CompletionShape()


def describe_models(services: Services) -> list[dict[str, Any]]:
    """Every model that is offered by name."""
    sources = {source.model_id: source for source in services.registry.catalog.list()}
    found = []
    for summary in services.registry.summaries():
        source = sources.get(summary.model_id) or services.registry.catalog.find(summary.model_id)
        found.append(describe_source(source))
    return found


def describe_model(services: Services, model_id: str) -> dict[str, Any]:
    """The offered model of that id, or of that folder by another name. Raises UnknownModel."""
    try:
        canonical = services.registry.catalog.find(model_id).model_id
    except GlassformerError:
        raise UnknownModel(model_id, "There is no such model here.") from None
    for model in describe_models(services):
        if model["id"] == canonical:
            return model
    raise UnknownModel(canonical)


def describe_source(source: ModelSource) -> dict[str, Any]:
    owner = {"bundled": "glassformer", "folder": "local", "hub": source.model_id.partition("/")[0]}[
        source.kind
    ]
    created_at_secs = STARTED_AT_SECS
    if source.folder is not None:
        with suppress(OSError):  # a folder that has just gone
            created_at_secs = int((source.folder / "config.json").stat().st_mtime)
    return {"id": source.model_id, "object": "model", "created": created_at_secs, "owned_by": owner}
