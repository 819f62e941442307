"""Text to token ids and back in the form of other servers, at the root and under `/v1`; and conversations rendered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from glassformer.server.error_answer import json_response, parse_body
from glassformer.server.openai.asking import tell_ignored
from glassformer.server.openai.openai_request import ChatRequest, CompletionRequest
from glassformer.server.openai.tokenizing import (
    DetokenizeRequest,
    TokenizeChat,
    TokenizeText,
    choose_form,
    describe_tokenizer,
    detokenize,
    render,
    tokenize,
)
from glassformer.server.services import ServicesOf

router = APIRouter(tags=["openai"])


@router.post("/v1/tokenize", openapi_extra={"requestBody": {"required": True}})
async def tokenize_text(
    body: Annotated[TokenizeText | TokenizeChat, parse_body(choose_form)], services: ServicesOf
) -> Response:
    headers = tell_ignored(body, services)
    return json_response(await tokenize(body, services), 200, headers)


@router.post("/detokenize")
@router.post("/v1/detokenize")
async def detokenize_ids(body: DetokenizeRequest, services: ServicesOf) -> Response:
    headers = tell_ignored(body, services)
    return json_response(await detokenize(body, services), 200, headers)


@router.get("/tokenizer_info")
@router.get("/v1/tokenizer_info")
async def read_tokenizer(services: ServicesOf, model: Annotated[str, Query(max_length=512)] = "") -> Response:
    return json_response(await describe_tokenizer(model, services), 200)


@router.post("/v1/chat/completions/render")
async def render_chat(body: ChatRequest, services: ServicesOf) -> Response:
    headers = tell_ignored(body, services)
    return json_response(await render(body, services), 200, headers)


@router.post("/v1/completions/render")
async def render_prompts(body: CompletionRequest, services: ServicesOf) -> Response:
    headers = tell_ignored(body, services)
    return json_response(await render(body, services), 200, headers)
