"""The Zarr stores of recordings and weights, key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from glassformer.server.router.traces import find_run
from glassformer.server.services import ServicesOf

if TYPE_CHECKING:
    from glassformer.tiles.store import ZarrReply

router = APIRouter(prefix="/api", tags=["zarr"])

# Private: with API keys, no shared cache may answer in the server's place.
IMMUTABLE = "private, max-age=31536000, immutable"
REVALIDATED = "private, no-cache"


@router.api_route("/traces/{trace_id}/zarr/{key:path}", methods=["GET", "HEAD"], response_class=Response)
async def read_recording_key(trace_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a recording."""
    run = find_run(services, trace_id)
    reply = await services.read(run.trace.zarr_get, key)
    return answer(request, reply, is_immutable=reply.immutable)


@router.api_route("/models/{model_id:path}/zarr/{key:path}", methods=["GET", "HEAD"], response_class=Response)
async def read_weight_key(model_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a model's weights."""
    loaded = await services.load(model_id)
    from glassformer.trace.weights import weight_zarr_get

    # A folder can be trained again under the same name, so even complete chunks are asked for again (and answered 304).
    return answer(request, await services.read(weight_zarr_get, loaded, key), is_immutable=False)


def answer(request: Request, reply: ZarrReply, *, is_immutable: bool) -> Response:
    """The reply with its headers, or 304 where the client has it already."""
    etag = reply.etag if reply.etag.startswith('"') else f'"{reply.etag}"'
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE if is_immutable else REVALIDATED}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(reply.body, headers=headers, media_type=reply.media_type)
