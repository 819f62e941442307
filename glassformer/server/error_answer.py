"""Every error as one shape, `{"error": sentence, "field"?: name}`, with its HTTP status. The only place that maps.

Under `/v1` the same errors take the shape that its clients read, see `openai_error.py`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, PlainValidator, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from glassformer import errors
from glassformer.errors import error_body
from glassformer.server.openai_error import find_code, is_openai, openai_body, openai_status

log = logging.getLogger(__name__)

# The first class that matches counts, so special cases stand before their parents.
STATUS: list[tuple[type[errors.GlassformerError], int]] = [
    (errors.BadValue, 422),
    (errors.NotFound, 404),
    (errors.ModelGated, 403),
    (errors.ModelRefused, 422),
    (errors.ModelFailed, 422),
    (errors.InUse, 409),
    (errors.Unavailable, 503),
    (errors.TooLarge, 413),
    (errors.TooMany, 429),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.DeadlinePassed, 504),
]
HTTP_SENTENCES = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This method is not allowed here.",
    415: "The body must be sent as application/json.",
}


def find_status(error: errors.GlassformerError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def error_response(error: Exception, path: str = "") -> Response:
    """The whole answer to an error of a request for `path`. Logs those that are faults of ours."""
    headers = {}
    status = 500
    if isinstance(error, errors.GlassformerError):
        status = find_status(error)
        retry_after_secs = getattr(error, "retry_after_secs", None)
        if retry_after_secs is not None:
            headers["Retry-After"] = str(max(1, math.ceil(retry_after_secs)))
        if status == 413:
            headers["Connection"] = "close"  # there may be more of it coming
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status == 504 and is_openai(path):
            headers["X-Should-Retry"] = "false"  # its clients would ask for the same long work again
    if status == 500:
        log.error("a request failed", exc_info=error)
    body = error_body(error)
    return refusal(
        path,
        body["error"],
        status,
        field=body.get("field"),
        shape=body.get("shape"),
        code=find_code(error),
        headers=headers,
    )


def refusal(
    path: str,
    sentence: str,
    status: int,
    *,
    field: str | None = None,
    shape: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer of `status` in the shape of the surface that `path` belongs to."""
    if is_openai(path):
        status = openai_status(status)
        return json_response(openai_body(sentence, status, field=field, code=code), status, headers)
    body = {"error": sentence}
    if field:
        body["field"] = field
    if shape:
        body["shape"] = shape
    return json_response(body, status, headers)


def json_response(body: dict[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII: a lone surrogate in an echoed name can be written and read."""
    return Response(json.dumps(body), status, headers, media_type="application/json")


def describe_validation(found: Sequence[Any]) -> dict[str, str]:
    """One sentence for the first of pydantic's errors. Never echoes the value."""
    first = found[0]
    where = [str(part) for part in first["loc"]]
    field = (
        ".".join(where[1:]) if where and where[0] in {"body", "query", "path", "header"} else ".".join(where)
    )
    kind = first["type"]
    if kind in {"json_invalid", "json_type"}:
        return {"error": "The body is not valid JSON."}
    if not field:
        return {"error": "The body must be a JSON object, sent as application/json."}
    field = field[:200]
    if kind == "missing":
        return {"error": f"{field} is missing.", "field": field}
    message = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return {"error": f"{field}: {message}.", "field": field}


def parse_body(choose: Callable[[Mapping[str, Any]], type[BaseModel]]) -> PlainValidator:
    """For a body that comes in several forms: it is read as what `choose` says of it, and told of as that alone."""

    def parse(data: Any) -> BaseModel:
        try:
            return choose(data if isinstance(data, Mapping) else {}).model_validate(data)
        except ValidationError as error:
            found = describe_validation(error.errors(include_url=False, include_input=False))
            raise errors.BadValue(found["error"], field=found.get("field")) from None

    return PlainValidator(parse, json_schema_input_type=dict[str, Any])


async def answer_error(request: Request, error: Exception) -> Response:
    return error_response(error, request.url.path)


async def answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = describe_validation(error.errors())
    return refusal(request.url.path, found["error"], 422, field=found.get("field"))


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown addresses and methods, unreadable bodies."""
    assert isinstance(error, HTTPException)
    sentence = HTTP_SENTENCES.get(error.status_code, "The request cannot be answered.")
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = ", ".join(find_methods(request))
    return refusal(request.url.path, sentence, error.status_code, headers=headers)


def find_methods(request: Request) -> list[str]:
    """Every method of an address; the framework tells those of the first route alone."""
    found: set[str] = set()
    for route in list_routes(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def list_routes(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Routes, those of routers that were included too: newer versions of the framework keep them apart."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from list_routes(included.routes)
        elif isinstance(route, Route):
            yield route


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(errors.GlassformerError, answer_error)
    app.add_exception_handler(RequestValidationError, answer_validation_error)
    app.add_exception_handler(HTTPException, answer_http_error)
