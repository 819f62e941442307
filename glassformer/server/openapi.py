"""`/openapi.json`: what the framework knows of the calls, and what it does not: errors, streams, bytes, the key.

The framework tells of one error alone, and of that in a shape that no call answers with. Here every call has all that
it can answer, in the shape of its surface (see `error_answer.py`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from glassformer.server.openai_error import is_openai, openai_status
from glassformer.server.security import is_public

SENTENCE = {"type": "string", "description": "one sentence, for a person"}
ERROR = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": SENTENCE,
        "field": {"type": ["string", "null"], "description": "the field that is to blame"},
        "shape": {
            "type": "string",
            "description": "of a model that does not fit: what shows it without weights",
        },
    },
}
OPENAI_ERROR = {
    "title": "OpenAIError",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": SENTENCE,
                "type": {"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
RETRY_AFTER = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
# Of any call, and those of calls that read a body, need a key, or name something.
OF_ALL = (400, 403, 404, 405, 408, 409, 413, 422, 429, 500, 503, 504)
WAITS = {429, 503}
KEY = {
    "key": {"type": "http", "scheme": "bearer", "description": "one of `api_keys`, where the server has some"}
}
# What is answered with something else than JSON.
BYTES, TEXT = "application/octet-stream", "text/plain"
KINDS = {"/metrics": TEXT, "/api/traces/{trace_id}/rows": BYTES}
EVENTS = "text/event-stream"
READY = {"type": "object", "required": ["ready"], "properties": {"ready": {"const": True}}}


def tell_object(kind: str, *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["object", *required],
        "properties": {"object": {"const": kind}, "model": {"type": "string"}},
    }


# What clients of OpenAI's read, field by field, is in its own documentation; here is what each answer has in any case.
ANSWERS = {
    "/v1/models": tell_object("list", "data"),
    "/v1/models/{model_id}": tell_object("model", "id", "created", "owned_by"),
    "/v1/chat/completions": tell_object("chat.completion", "id", "created", "model", "choices", "usage"),
    "/v1/completions": tell_object("text_completion", "id", "created", "model", "choices", "usage"),
    "/v1/embeddings": tell_object("list", "data", "model", "usage"),
    "/v1/responses": tell_object("response", "id", "created_at", "model", "status", "output", "usage"),
}
# They answer in one piece, or in events where `stream` is asked for.
STREAMS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})


def install_document(app: FastAPI) -> None:
    """Have `app` serve the completed document, made at the first call."""

    def read() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, routes=app.routes, servers=app.servers or None
            )
            app.openapi_schema = complete(document)
        return app.openapi_schema

    app.openapi = read  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with every answer of every call."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Error": ERROR, "OpenAIError": OPENAI_ERROR}
    document["components"]["securitySchemes"] = KEY
    for path, calls in document["paths"].items():
        for call in calls.values():
            tell_kinds(path, call)
            # A server without keys asks for none.
            call["security"] = [] if is_public(path) else [{}, {"key": []}]
            call["responses"] |= {str(status): tell_error(path, status) for status in list_statuses(path)}
    document["paths"]["/ready"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = READY
    return document


def list_statuses(path: str) -> list[int]:
    keys = () if is_public(path) else (401,)
    statuses = {openai_status(status) if is_openai(path) else status for status in (*OF_ALL, *keys)}
    return sorted(statuses)


def tell_error(path: str, status: int) -> dict[str, Any]:
    name = "OpenAIError" if is_openai(path) else "Error"
    schema = {"$ref": f"#/components/schemas/{name}"}
    told = {"description": HTTPStatus(status).phrase, "content": {"application/json": {"schema": schema}}}
    return {**told, "headers": RETRY_AFTER} if status in WAITS else told


def tell_kinds(path: str, call: dict[str, Any]) -> None:
    """What a good answer is, where it is no JSON; 422 of the framework goes."""
    call["responses"].pop("422", None)
    for status, answer in call["responses"].items():
        if path in KINDS:
            answer["content"] = {KINDS[path]: {"schema": {"type": "string", "contentMediaType": KINDS[path]}}}
        elif "/zarr/" in path:
            # Chunks are bytes, zarr.json is JSON.
            answer["content"] = {BYTES: {}, "application/json": {"schema": {"type": "object"}}}
        elif EVENTS in answer.get("content", {}):
            answer["content"] = {EVENTS: {}}
        elif path in ANSWERS:
            answer["content"]["application/json"]["schema"] = ANSWERS[path]
        if path in STREAMS and status == "200":
            answer["content"][EVENTS] = {}
