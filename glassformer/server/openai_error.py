"""Errors as the clients of the OpenAI-shaped surface read them, on `/v1` alone.

A value that is refused with 422 elsewhere is a 400 here: clients tell their kinds of error apart by status.
"""

from __future__ import annotations

from typing import Any

from glassformer import errors

PREFIX = "/v1/"
# The first class that matches counts, so special cases stand before their parents.
CODES: list[tuple[type[errors.GlassformerError], str]] = [
    (errors.TooLong, "context_length_exceeded"),
    (errors.GoneResponse, "previous_response_not_found"),
    (errors.UnknownResponse, "response_not_found"),
    (errors.UnknownModel, "model_not_found"),
    (errors.ModelRefused, "model_refused"),
    (errors.ModelFailed, "model_failed"),
    (errors.TooLarge, "request_too_large"),
    (errors.TooMany, "rate_limit_exceeded"),
    (errors.Unauthorized, "invalid_api_key"),
    (errors.Forbidden, "forbidden"),
    (errors.DeadlinePassed, "timeout"),
    (errors.InUse, "model_in_use"),
    (errors.Unavailable, "unavailable"),
]
CODES_OF_STATUS = {400: "invalid_request", 404: "unknown_url", 405: "method_not_allowed", 408: "timeout"}
# Our own words for what this surface calls otherwise.
FIELDS = {"model_id": "model"}


def is_openai(path: str) -> bool:
    """Whether errors at `path` are told in this surface's shape."""
    return path.startswith(PREFIX)


def find_code(error: Exception) -> str | None:
    return next((code for kind, code in CODES if isinstance(error, kind)), None)


def openai_status(status: int) -> int:
    return 400 if status == 422 else status


def openai_body(sentence: str, status: int, *, field: str | None, code: str | None) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`; `status` is the one that is answered."""
    for ours, theirs in FIELDS.items():
        sentence = sentence.replace(ours, theirs)
    kind = "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    param = FIELDS.get(field, field) if field is not None else None
    return {
        "error": {
            "message": sentence,
            "type": kind,
            "param": param,
            "code": code or CODES_OF_STATUS.get(status),
        }
    }
