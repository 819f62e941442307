"""`POST /v1/embeddings`: what the model makes of each text, as a vector.

A causal model is no embedding model: which of its rows is told, and how the rows of a text become one, is said in the
answer and can be chosen.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainValidator

from glassformer.errors import BadValue
from glassformer.protocol.checked_text import check_text
from glassformer.server.openai.openai_request import is_ids
from glassformer.server.openai.weeded import Weeded
from glassformer.server.services import Services

if TYPE_CHECKING:
    from torch import Tensor

    from glassformer.loading.loaded import LoadedModel

MOST_INPUTS = 2048
# Texts of one request that are read at the same time; the others wait, so that they fill no queue.
TOGETHER = 8
FORMS = "is a string, token ids, or a list of either"


def read_inputs(value: object) -> list[str | list[int]]:
    """Each text as a string or as token ids. Raises ValueError."""
    if isinstance(value, str) or is_ids(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(FORMS)
    if len(value) > MOST_INPUTS:
        raise ValueError(f"holds at most {MOST_INPUTS} texts")
    for place, text in enumerate(value):
        if isinstance(text, str):
            check_text(text)
        elif text != [] and not is_ids(text):
            raise ValueError(FORMS)
        if not text:
            raise ValueError(f"must not be empty, and number {place} is")
    return value


class EmbeddingRequest(Weeded):
    """`site`, `pooling` and `normalize` are no part of OpenAI's own; clients send them as `extra_body`."""

    input: Annotated[
        list[str | list[int]],
        PlainValidator(read_inputs, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="keeps that many of the first numbers")
    site: str = Field("final_norm", max_length=64, description="whose rows are told")
    pooling: Literal["last", "mean"] = "last"
    normalize: bool = Field(True, description="to a length of 1")


async def embed(body: EmbeddingRequest, services: Services) -> dict[str, Any]:
    """The whole answer. Raises what is refused, before anything is computed."""
    loaded = await services.load(body.model)
    from glassformer.engine.text_state import check_site
    from glassformer.server.generation import check_request

    await services.quick(check_site, loaded, body.site)
    texts = await services.quick(encode_inputs, loaded, body.input)
    for ids in texts:
        check_request(services, loaded, ids, field="input")
    places = asyncio.Semaphore(TOGETHER)

    async def read(ids: list[int]) -> Tensor:
        async with places:
            return await read_text(services, loaded, body, ids)

    tasks = [asyncio.ensure_future(read(ids)) for ids in texts]
    try:
        rows = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    data = await services.quick(lambda: [describe(body, place, row) for place, row in enumerate(rows)])
    count = sum(map(len, texts))
    return {
        "object": "list",
        "data": data,
        "model": loaded.model_id,
        "usage": {"prompt_tokens": count, "total_tokens": count},
        "site": body.site,
        "pooling": body.pooling,
        "normalized": body.normalize,
    }


def encode_inputs(loaded: LoadedModel, texts: Sequence[str | list[int]]) -> list[list[int]]:
    """Each text's ids. None is to go on, so what the tokenizer puts after a text stays. Raises BadValue."""
    return [
        loaded.check_ids(loaded.tokenize(text) if isinstance(text, str) else text, field="input")
        for text in texts
    ]


async def read_text(
    services: Services, loaded: LoadedModel, body: EmbeddingRequest, ids: list[int]
) -> Tensor:
    """Float32[Tensor, "dimensions"]; takes its turns like any generation. Raises BadValue."""
    from glassformer.engine.generation_request import GenerationRequest
    from glassformer.engine.text_state import Pooled
    from glassformer.server.generation import generate

    pooled = Pooled(body.site, body.pooling)
    async with generate(services, loaded, GenerationRequest(ids, max_new_tokens=0), watcher=pooled) as steps:
        async for _ in steps:
            pass
    row = pooled.read()
    if body.dimensions is not None:
        if body.dimensions > len(row):
            raise BadValue(f"dimensions is at most {len(row)} for this model.", field="dimensions")
        row = row[: body.dimensions]
    if body.normalize:
        row = row / row.norm().clamp_min(1e-12)
    return row


def describe(body: EmbeddingRequest, place: int, row: Tensor) -> dict[str, Any]:
    vector: Any = row.tolist()
    if body.encoding_format == "base64":
        vector = base64.b64encode(row.numpy().astype("<f4").tobytes()).decode()
    return {"object": "embedding", "index": place, "embedding": vector}
