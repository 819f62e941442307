"""Models: which there are, load and unload them, how they are built."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from glassformer.errors import InUse, ModelFailed, NoRoom
from glassformer.loading.options import LoadOptions
from glassformer.protocol.anatomy import Anatomy, CheckedParts
from glassformer.protocol.messages import LoadProgress, LoadRequest, ModelList, ModelSummary
from glassformer.server.framing import event
from glassformer.server.services import Services, ServicesOf
from glassformer.server.stream import EventStream
from glassformer.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

    from glassformer.loading.loaded import LoadedModel

router = APIRouter(prefix="/api/models", tags=["models"])

# How long an answer to `load` waits to learn whether there is such a model at all, and room for it.
LOOK_UP_SECS = 15.0
# How long it waits, where it says in which way, to learn whether the model writes when loaded so.
TRY_SECS = 10.0
# How often a page hears of parts of a model that have been checked: a model of many blocks is checked in a second.
TELL_SECS = 0.1


@router.get("")
async def list_models(services: ServicesOf) -> ModelList:
    """Bundled models, folders, and whatever is loaded."""
    models = await services.quick(services.registry.summaries)
    return ModelList(models=models, default_model_id=services.settings.default_model)


@router.post("/{model_id:path}/load", status_code=202)
async def load_model(model_id: str, services: ServicesOf, body: LoadRequest | None = None) -> ModelSummary:
    """Start loading, if need be; an unknown or refused model is told at once.

    A body says how, where not as the settings do: a model that is there in another way is loaded anew, and serves until
    the new one has been seen to write. A way in which it does not is refused, here where that is soon known.
    """
    body = body or LoadRequest()
    options = find_options(body, services.settings)
    found = asyncio.Event()
    loop = asyncio.get_running_loop()

    def notice(progress: LoadProgress) -> None:
        is_found = options is None and (progress.fraction is not None or progress.stage == "checking")
        if is_found or progress.stage in {"ready", "failed"}:
            loop.call_soon_threadsafe(found.set)

    future, stop = await services.quick(services.registry.listen, model_id, notice, options)
    try:
        if body.pinned is not None:
            await services.quick(services.registry.pin, model_id, pinned=body.pinned)
        async with asyncio.timeout(LOOK_UP_SECS if options is None else TRY_SECS):
            await found.wait()
    except TimeoutError:
        pass
    finally:
        stop()
    if future.done():
        tell_result(future, model_id)
    return await services.quick(services.registry.summary, model_id)


def tell_result(future: Future[LoadedModel], model_id: str) -> None:
    """Raise what loading ended with, if it failed; where there was no room, its shape can still be drawn."""
    try:
        future.result()
    except NoRoom as error:
        error.shape_id = model_id
        raise


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
        _, stop = await services.quick(services.registry.listen, model_id, pass_on)
        stack.callback(stop)
        return EventStream(services, events(), stack.pop_all())


class ModelId(Convertor[str]):
    """A model's id, which is no address of something of a model's."""

    regex = r"(?!.*/zarr/).+(?<!/load)(?<!/anatomy)(?<!/checks)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("model", ModelId())


@router.delete("/{model_id:model}", status_code=204)
async def unload_model(model_id: str, services: ServicesOf) -> Response:
    """Give the model's memory back, or cancel its loading; nothing happens where it is not loaded."""
    await services.quick(services.registry.unload, model_id)
    await services.quick(services.forget_runs, model_id)
    return Response(status_code=204)


@router.get("/{model_id:path}/anatomy", response_model=Anatomy)
async def read_anatomy(
    model_id: str, services: ServicesOf, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """The model as data, as far as it has been checked; loads it first if need be. `checks` tells of the rest."""
    loaded = await services.load(model_id)
    anatomy = await services.read(loaded.read_anatomy)
    if anatomy is None:
        raise ModelFailed("The model can write, but looking into it failed; the server's log says why.")
    body = await services.quick(lambda: anatomy.model_dump_json().encode())
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/{model_id:path}/checks", response_class=EventStream, status_code=200)
async def follow_checks(
    model_id: str,
    services: ServicesOf,
    after: Annotated[int, Query(ge=0, le=10**6, description="`checked` of the anatomy that is at hand")] = 0,
) -> EventStream:
    """`checked` events with parts of the anatomy, until all have been checked. Reading them checks nothing sooner."""
    summary = await services.quick(services.registry.summary, model_id)
    if summary.status not in {"ready", "loading"}:
        raise InUse("The model is not loaded; ask for its anatomy first.", field="model_id")
    loaded = await services.load(model_id)
    if await services.read(loaded.read_anatomy) is None:
        raise ModelFailed("The model can write, but looking into it failed; the server's log says why.")
    async with AsyncExitStack() as stack:
        stack.enter_context(services.connection())
        return EventStream(services, tell_checks(services, loaded, after), stack.pop_all())


async def tell_checks(services: Services, loaded: LoadedModel, told: int) -> AsyncIterator[str]:
    """Events with what has been checked after the first `told` parts, until nothing is left."""
    checkup = loaded.checkup
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    stop = None if checkup is None else checkup.listen(lambda: loop.call_soon_threadsafe(changed.set))
    try:
        while checkup is not None and loaded.anatomy is not None:
            changed.clear()
            anatomy = loaded.anatomy
            if told < anatomy.checked:
                found = await services.quick(gather_checked, anatomy, checkup.order[told : anatomy.checked])
                told = anatomy.checked
                yield event(found.model_dump_json(), name="checked")
            if anatomy.checked >= anatomy.parts or checkup.is_ended:
                return
            await changed.wait()
            await asyncio.sleep(TELL_SECS)
    finally:
        if stop is not None:
            stop()


def gather_checked(anatomy: Anatomy, parts: list[int]) -> CheckedParts:
    """Those parts of an anatomy, as they are in it."""
    return CheckedParts(
        before=anatomy.before if 0 in parts else [],
        blocks=[anatomy.blocks[part] for part in sorted(parts) if part < len(anatomy.blocks)],
        after=anatomy.after if len(anatomy.blocks) in parts else [],
        parts=anatomy.parts,
        checked=anatomy.checked,
    )
