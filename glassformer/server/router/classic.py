"""Surface A: what existing visualisation front ends call. Kept byte for byte in meaning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from glassformer.importing import import_torch
from glassformer.protocol.message import QuickToRefuse
from glassformer.protocol.messages import Sampling
from glassformer.server.error_answer import json_response, parse_body
from glassformer.server.framing import TextFramer
from glassformer.server.openai.asking import tell_ignored
from glassformer.server.openai.tokenizing import OTHERS, TokenizeChat, TokenizeText, choose_form
from glassformer.server.openai.tokenizing import tokenize as tokenize_as_others
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import ClientLeft, EventStream, unless_left
from glassformer.server.text_field import Stops, Text
from glassformer.vetting.vet import vet_config

if TYPE_CHECKING:
    from glassformer.engine.generation_request import DecodedToken

router = APIRouter(tags=["classic"])


def read_seed(value: object) -> object:
    """None, also where it is spelt -1."""
    return None if type(value) is int and value == -1 else value


CONTROL_TOKENS = "whether the names of control tokens in the prompt are such, or text"


class ClassicRequest(QuickToRefuse):
    """Base of the surface's requests: unknown fields are ignored, as old front ends send them all everywhere."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())

    model_id: Annotated[Text, StringConstraints(min_length=1, max_length=512)]


class TokenizeRequest(ClassicRequest):
    prompt: Text
    control_tokens: bool = Field(True, description=CONTROL_TOKENS)


class GenerateRequest(ClassicRequest):
    prompt: Annotated[Text, StringConstraints(min_length=1)]
    max_new_tokens: int = Field(128, ge=1, le=1_000_000)
    temperature: float = Field(0.7, ge=0, le=100)
    top_p: float = Field(0.95, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=100)
    control_tokens: bool = Field(True, description=CONTROL_TOKENS)
    top_k: int = Field(0, ge=-1, le=1_000_000, description="0 or -1 = off")
    seed: Annotated[int | None, BeforeValidator(read_seed)] = Field(
        None, ge=0, le=2**63 - 1, description="null or -1 = none"
    )
    stop: Stops = Field(
        default_factory=list, description="one string or several; none of them is in the answer"
    )

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_k=max(self.top_k, 0),
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
        )


class TokenizeAnswer(BaseModel):
    token_ids: list[int]
    tokens: list[str] = Field(
        description="each as it reads in the middle of a text; joined, they are the text"
    )
    count: int
    special: list[bool]
    bytes: list[list[int] | None] = Field(
        description="of each that is no whole characters, what it is made of"
    )
    left_off: list[int] = Field(
        description="places of special tokens that are not run when the text is to go on: an end that the tokenizer "
        "adds, and its beginning where the text has one of its own"
    )


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class GenerateAnswer(BaseModel):
    text: str = Field(description="the prompt followed by the continuation")
    completion: str
    finish_reason: str = Field(
        description="stop (an end token or stop string) or length (also of the context)"
    )
    usage: Usage


def choose_tokenize(data: Mapping[str, Any]) -> type[BaseModel]:
    """Which of the two forms of `/tokenize` a body has: this surface's always names its model by `model_id`."""
    is_classic = "model_id" in data or all(data.get(name) is None for name in OTHERS)
    return TokenizeRequest if is_classic else choose_form(data)


@router.post("/tokenize", response_model=TokenizeAnswer)
async def tokenize(
    body: Annotated[TokenizeRequest | TokenizeText | TokenizeChat, parse_body(choose_tokenize)],
    services: ServicesOf,
) -> Any:
    """In this surface's form, or in that of other servers (`tokens.py`), whichever was asked in."""
    if not isinstance(body, TokenizeRequest):
        headers = tell_ignored(body, services)
        return json_response(await tokenize_as_others(body, services), 200, headers)
    loaded = await services.load(body.model_id)
    ids = await services.quick(loaded.tokenize, body.prompt, control_tokens=body.control_tokens)
    tokens = await services.quick(loaded.tokens, ids)
    return TokenizeAnswer(
        token_ids=ids,
        tokens=[token.text for token in tokens],
        count=len(ids),
        special=[token.special for token in tokens],
        bytes=[token.bytes for token in tokens],
        left_off=await services.quick(loaded.list_left_off, ids),
    )


@router.post("/config")
async def config(body: ClassicRequest, services: ServicesOf) -> dict[str, Any]:
    return await services.quick(read_dimensions, services, body.model_id)


def read_dimensions(services: Services, model_id: str) -> dict[str, Any]:
    """The model's dimensions from its config alone, under both naming habits."""
    import_torch()
    from glassformer.loading.config import read_config
    from glassformer.loading.dimension import list_dimensions

    catalog = services.registry.catalog
    source = catalog.find(model_id)
    place = catalog.fetch_config(source)
    if source.kind != "bundled":
        vet_config(place)
    return {"model_id": source.model_id, **list_dimensions(read_config(place))}


@router.post("/generate")
async def generate_text(body: GenerateRequest, request: Request, services: ServicesOf) -> GenerateAnswer:
    try:
        return await unless_left(request, collect(body, services))
    except ClientLeft:
        return Response(status_code=499)  # type: ignore[return-value]  # never sent: nobody is there


async def collect(body: GenerateRequest, services: Services) -> GenerateAnswer:
    """The whole continuation at once."""
    async with AsyncExitStack() as stack:
        prompt_count, tokens = await start(body, services, stack)
        pieces: list[str] = []
        reason, count = "length", 0
        async for token in tokens:
            pieces.append(token.text)
            count += 1
            reason = "stop" if token.finish_reason == "stop" else "length"
    completion = "".join(pieces)
    return GenerateAnswer(
        text=body.prompt + completion,
        completion=completion,
        finish_reason=reason,
        usage=Usage(prompt_tokens=prompt_count, completion_tokens=count, total_tokens=prompt_count + count),
    )


@router.post("/generate/stream", response_class=EventStream, status_code=200)
async def stream_text(body: GenerateRequest, services: ServicesOf) -> EventStream:
    async with AsyncExitStack() as stack:
        stack.enter_context(services.connection())
        _, tokens = await start(body, services, stack)
        return EventStream(services, frame_text(tokens), stack.pop_all())


async def start(
    body: GenerateRequest, services: Services, stack: AsyncExitStack
) -> tuple[int, AsyncIterator[DecodedToken]]:
    """Load, tokenize and queue; the prompt's length and the tokens to come. All refusals happen here."""
    loaded = await services.load(body.model_id)
    from glassformer.engine.generation_request import GenerationRequest
    from glassformer.server.generation import check_count, generate

    check_count(services, body.max_new_tokens)
    ids = await services.quick(loaded.encode, body.prompt, control_tokens=body.control_tokens)
    request = GenerationRequest(ids, body.sampling, max_new_tokens=body.max_new_tokens, stop=tuple(body.stop))
    tokens = await stack.enter_async_context(generate(services, loaded, request))
    return len(ids), tokens


async def frame_text(tokens: AsyncIterator[DecodedToken]) -> AsyncIterator[str]:
    """Events of new text only."""
    framer = TextFramer()
    async for token in tokens:
        for event in framer.add(token.text):
            yield event
    for event in framer.finish():
        yield event
