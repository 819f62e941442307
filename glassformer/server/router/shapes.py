"""Shapes: models of any size drawn from their configs, without weights."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from glassformer.protocol.shape import ModelShape, ShapeList
from glassformer.server.services import ServicesOf
from glassformer.shape.shelf import list_shapes

router = APIRouter(prefix="/api/shapes", tags=["shapes"])


@router.get("")
async def list_all() -> ShapeList:
    """The shapes that ship with the program; every model that is offered here has one too, under its id."""
    return list_shapes()


@router.get("/{shape_id:path}/anatomy", response_model=ModelShape)
async def read_shape(
    shape_id: str, services: ServicesOf, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A model as data, from its config alone: each kind of block once, and which blocks are of it. Loads nothing."""
    wanted = await services.read(services.shapes.locate, shape_id)
    shape = services.shapes.find_kept(wanted) or await services.draw_shape(wanted)
    body = (await services.quick(shape.model_dump_json)).encode()
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
