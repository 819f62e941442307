"""How the surface's calls are answered: what is ignored is told, and nothing goes on for a client that has left."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from glassformer.server.error_answer import json_response
from glassformer.server.ignored_name import ignored_header
from glassformer.server.openai.field_name import refuse_unknown
from glassformer.server.openai.weeded import Weeded
from glassformer.server.services import Services
from glassformer.server.stream import ClientLeft, unless_left


def tell_ignored(body: Weeded, services: Services) -> Mapping[str, str]:
    """The header that names what means nothing here. Raises BadValue where the server is strict."""
    if services.settings.strict_fields:
        refuse_unknown(body.ignored, type(body).model_fields)
    return ignored_header(body.ignored)


async def answer_whole(
    work: Coroutine[Any, Any, dict[str, Any]], request: Request, headers: Mapping[str, str]
) -> Response:
    """What `work` gives as JSON; it ends when the client leaves."""
    try:
        return json_response(await unless_left(request, work), 200, headers)
    except ClientLeft:
        return Response(status_code=499)  # never sent: nobody is there
