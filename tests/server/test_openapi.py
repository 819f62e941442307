"""The document says what the server does: each answer here has a status, a kind and a shape that it tells of."""

import json
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.routing import compile_path

CHAT = {"model": "llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
TEXT = {"model": "llama", "prompt": "a fox", "max_tokens": 2}
CALLS: list[tuple[str, str, Any]] = [
    ("GET", "/health", None),
    ("GET", "/ready", None),
    ("GET", "/metrics", None),
    ("POST", "/tokenize", {"model_id": "llama", "prompt": "a fox"}),
    ("POST", "/tokenize", {"model_id": "llama"}),
    ("POST", "/tokenize", {"model_id": "nowhere", "prompt": "x"}),
    ("POST", "/config", {"model_id": "llama"}),
    ("POST", "/generate", {"model_id": "llama", "prompt": "a fox", "max_new_tokens": 2}),
    ("POST", "/generate", {"model_id": "gpt2", "prompt": "the " * 200}),
    ("POST", "/generate", {"model_id": "llama", "prompt": "x" * 3_000_000}),
    ("POST", "/generate/stream", {"model_id": "llama", "prompt": "a fox", "max_new_tokens": 2}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/llama", None),
    ("GET", "/v1/models/nowhere", None),
    ("POST", "/v1/completions", TEXT),
    ("POST", "/v1/completions", {**TEXT, "stream": True}),
    ("POST", "/v1/completions", {**TEXT, "temperature": -1}),
    ("POST", "/v1/chat/completions", {**CHAT, "model": "tales"}),
    ("POST", "/v1/chat/completions", {**CHAT, "model": "tales", "stream": True}),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/embeddings", {"model": "llama", "input": "a fox"}),
    ("POST", "/v1/responses", {"model": "tales", "input": "Who?", "max_output_tokens": 16}),
    ("GET", "/v1/responses/gone", None),
    ("GET", "/api/models", None),
    ("GET", "/api/models/llama/anatomy", None),
    ("GET", "/api/models/llama/zarr/zarr.json", None),
    ("GET", "/api/models/nowhere/anatomy", None),
    ("GET", "/api/shapes", None),
    ("GET", "/api/shapes/gpt2/anatomy", None),
    ("GET", "/api/traces", None),
    ("POST", "/api/traces", {"model_id": "llama", "prompt": "a fox"}),
    ("POST", "/api/traces", {"model_id": "llama", "token_ids": [10**6]}),
    ("GET", "/api/traces/gone", None),
    ("GET", "/api/traces/gone/distribution?pos=-1", None),
    ("DELETE", "/api/traces/gone", None),
    ("PUT", "/api/traces", None),
]


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def find_call(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """What is told of a call; of one with a method that is not there, what is told of any other at its address."""
    # A model's id may contain slashes, so what ends in more than that comes first.
    for template, calls in sorted(document["paths"].items(), key=lambda item: -len(item[0])):
        pattern = template.replace("{key}", "{key:path}").replace("{model_id}", "{model_id:path}")
        if compile_path(pattern)[0].match(path):
            return dict(calls.get(method.lower()) or next(iter(calls.values())))
    raise AssertionError(f"nothing is told of {path}")


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=lambda given: str(given)[:40])
def test_what_is_answered_is_what_is_told(
    client: httpx.Client, document: dict[str, Any], method: str, path: str, body: Any
) -> None:
    answer = client.request(method, path, json=body)
    told = find_call(document, method, path.partition("?")[0])["responses"]
    assert str(answer.status_code) in told, answer.text[:300]
    response = told[str(answer.status_code)]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code == 204:
        return
    assert kind in response["content"], f"{kind} is not told of"
    schema = response["content"][kind].get("schema")
    if kind == "application/json" and schema:
        jsonschema.validate(answer.json(), {**schema, "components": document["components"]})
    if answer.status_code == 429:
        assert "Retry-After" in response["headers"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(link := part.get("$ref"), str):
                assert link.removeprefix("#/components/schemas/") in document["components"]["schemas"], link
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(document)
    assert "HTTPValidationError" not in json.dumps(document)


def test_who_needs_a_key_is_told(document: dict[str, Any]) -> None:
    calls = {path: call for path, each in document["paths"].items() for call in each.values()}
    assert calls["/health"]["security"] == []
    assert "401" not in calls["/health"]["responses"]
    for path in ("/generate", "/v1/models", "/api/traces", "/ready", "/metrics"):
        assert {"key": []} in calls[path]["security"]
        assert "401" in calls[path]["responses"]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
