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

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"


@router.api_route("/traces/{trace_id}/zarr/{key:path}", methods=["GET", "HEAD"], response_class=Response)
async def read_recording_key(trace_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a recording."""
    run = find_run(services, trace_id)
    return answer(request, await services.read(run.trace.zarr_get, key))


@router.api_route("/models/{model_id:path}/zarr/{key:path}", methods=["GET", "HEAD"], response_class=Response)
async def read_weight_key(model_id: str, key: str, request: Request, services: ServicesOf) -> Response:
    """A metadata document or a chunk of a model's weights."""
    loaded = await services.load(model_id)
    from glassformer.trace.weights import weight_zarr_get

    return answer(request, await services.read(weight_zarr_get, loaded, key))


def answer(request: Request, reply: ZarrReply) -> Response:
    """The reply with its headers, or 304 where the client has it already."""
    etag = reply.etag if reply.etag.startswith('"') else f'"{reply.etag}"'
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE if reply.immutable else REVALIDATED}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(reply.body, headers=headers, media_type=reply.media_type)
