"""The Zarr stores of recordings and weights, key by key."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from glassformer.server.coding import accepts_coding
from glassformer.server.router.traces import find_feed
from glassformer.server.services import ServicesOf

if TYPE_CHECKING:
    from glassformer.tiles.zarr_store import ZarrReply

router = APIRouter(prefix="/api", tags=["zarr"])

# The group of a recording's reading; made when asked for, so it is no member of the store that grows.
READING = "reading"

# Private: with API keys, no shared cache may answer in the server's place. And asked for again: a recording may have to
# be made again, with other last digits, and a model be trained again under the same name; the ETag is another then.
CACHING = "private, no-cache"
# A metadata document packs to a tenth, the NaN that pads a growing recording's chunks to nothing, in half a
# millisecond; weights are as good as random and would take twenty times as long for a few per cent.
SMALLEST_PACKED_BYTES = 1024
PACK_LEVEL = 1


@router.head("/traces/{trace_id}/zarr/{key:path}", response_class=Response, include_in_schema=False)
@router.get("/traces/{trace_id}/zarr/{key:path}", response_class=Response)
async def read_recording_key(trace_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a recording."""
    run = find_feed(services, trace_id).run
    group, _, rest = key.partition("/")
    if group == READING and rest:
        from glassformer.reading.group import read_group_key

        reply = await services.ask(run, read_group_key, run, rest)
    else:
        reply = await services.ask(run, run.zarr_get, key)
    return await answer(request, reply, is_packable=True)


@router.head("/models/{model_id:path}/zarr/{key:path}", response_class=Response, include_in_schema=False)
@router.get("/models/{model_id:path}/zarr/{key:path}", response_class=Response)
async def read_weight_key(model_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a model's weights."""
    loaded = await services.load(model_id)
    from glassformer.run.weights import weight_zarr_get

    reply = await services.read(weight_zarr_get, loaded, key)
    return await answer(request, reply, is_packable=key.endswith(".json"))


async def answer(request: Request, reply: ZarrReply, *, is_packable: bool) -> Response:
    """The reply with its headers, or 304 where the client has it already."""
    etag = reply.etag if reply.etag.startswith('"') else f'"{reply.etag}"'
    headers = {"ETag": etag, "Cache-Control": CACHING, "Vary": "Accept-Encoding"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    body = reply.body
    accepted = request.headers.get("accept-encoding", "")
    if is_packable and len(body) >= SMALLEST_PACKED_BYTES and accepts_coding(accepted, "gzip"):
        body = await to_thread.run_sync(lambda: gzip.compress(reply.body, PACK_LEVEL, mtime=0))
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=reply.media_type)
