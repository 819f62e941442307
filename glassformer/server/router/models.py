"""Models: which there are, load and unload them, how they are built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from glassformer.errors import ModelFailed
from glassformer.model.options import LoadOptions
from glassformer.protocol.anatomy import Anatomy
from glassformer.protocol.messages import LoadProgress, LoadRequest, ModelList, ModelSummary
from glassformer.server.framing import event
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import EventStream
from glassformer.settings import Settings

router = APIRouter(prefix="/api/models", tags=["models"])

# How long an answer to `load` waits to learn whether there is such a model at all, and room for it.
LOOK_UP_SECS = 15.0


@router.get("")
async def list_models(services: ServicesOf) -> ModelList:
    """Bundled models, folders, and whatever is loaded."""
    models = await services.quick(services.registry.summaries)
    return ModelList(models=models, default_model_id=services.settings.default_model)


@router.post("/{model_id:path}/load", status_code=202)
async def load_model(model_id: str, services: ServicesOf, body: LoadRequest | None = None) -> ModelSummary:
    """Start loading, if need be; an unknown or refused model is told at once.

    A body says how, where not as the settings do: a model that is there in another way is loaded anew.
    """
    body = body or LoadRequest()
    future = await services.quick(services.registry.load, model_id, find_options(body, services.settings))
    if body.pinned is not None:
        await services.quick(services.registry.pin, model_id, pinned=body.pinned)
    found = asyncio.Event()
    loop = asyncio.get_running_loop()

    def notice(progress: LoadProgress) -> None:
        if progress.fraction is not None or progress.stage in {"checking", "failed"}:
            loop.call_soon_threadsafe(found.set)

    stop = await services.quick(services.registry.listen, model_id, notice)
    try:
        async with asyncio.timeout(LOOK_UP_SECS):
            await found.wait()
    except TimeoutError:
        pass
    finally:
        stop()
    if future.done():
        future.result()
    return await services.quick(services.registry.summary, model_id)


def find_options(body: LoadRequest, settings: Settings) -> LoadOptions | None:
    """How to load a model; None where the request leaves it open."""
    given = body.model_dump(include={"device", "dtype", "quantize"}, exclude_none=True)
    if not given:
        return None
    return LoadOptions(
        device=given.get("device", settings.device),
        dtype=given.get("dtype", settings.dtype),
        quantize=given.get("quantize", settings.quantize),
    )


@router.get("/{model_id:path}/load", response_class=EventStream, status_code=200)
async def follow_load(model_id: str, services: ServicesOf) -> EventStream:
    """`progress` events while the model is loaded; the last has stage `ready` or `failed`."""
    found: asyncio.Queue[LoadProgress] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def pass_on(progress: LoadProgress) -> None:
        loop.call_soon_threadsafe(found.put_nowait, progress)

    async def events() -> AsyncIterator[str]:
        while True:
            progress = await found.get()
            yield event(progress.model_dump_json(), name="progress")
            if progress.stage in {"ready", "failed"}:
                return

    async with AsyncExitStack() as stack:
        stack.enter_context(services.connection())
        stack.callback(await services.quick(services.registry.listen, model_id, pass_on))
        return EventStream(services, events(), stack.pop_all())


@router.delete("/{model_id:path}", status_code=204)
async def unload_model(model_id: str, services: ServicesOf) -> Response:
    """Give the model's memory back; nothing happens where it is not loaded."""
    await services.quick(services.registry.unload, model_id)
    return Response(status_code=204)


@router.get("/{model_id:path}/anatomy", response_model=Anatomy)
async def read_anatomy(model_id: str, services: ServicesOf) -> Response:
    """The model as data; loads it first if need be."""
    return Response(await anatomy_json(services, model_id), media_type="application/json")


async def anatomy_json(services: Services, model_id: str) -> Any:
    loaded = await services.load(model_id)
    if loaded.anatomy is None:
        raise ModelFailed("The model can write, but looking into it failed; the server's log says why.")
    return await services.quick(loaded.anatomy.model_dump_json)
