"""Surface B refuses in the shape its clients read: the right exception of the official client, naming the parameter."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import openai
import pytest
from leaving import wait_until
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params
from serving import Running, serving
from talking import connect

from glassformer.server.openai.field_name import IGNORED, REFUSED
from glassformer.server.openai.openai_request import ChatRequest, CompletionRequest

CHAT = {"model": "tales", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 2}
COMPLETION = {"model": "llama", "prompt": "the quick", "max_tokens": 2}
# Greedily, the tiny model falls into a circle and never ends by itself.
LONG: dict[str, Any] = {"model": "llama", "prompt": "the quick", "max_tokens": 3500, "temperature": 0}
KEY = "a-long-enough-key"


def check(answer: httpx.Response, status: int, *, param: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert 5 < len(error["message"]) < 400
    assert error["message"].endswith(".")
    assert not re.search(
        r"(?:^|[\s'\"(])(?:/\w+){2}|0x[0-9a-f]{6}|Traceback|\.py\b|://|model_id", error["message"]
    )
    assert error["param"] == param or (param is not None and error["param"].startswith(f"{param}."))
    return error


@pytest.fixture
def lives_on(client: httpx.Client) -> Iterator[None]:
    """After each bad request a good one works."""
    yield
    assert client.post("/v1/completions", json=COMPLETION).status_code == 200


BOTH: list[tuple[str, Any]] = [
    ("model", ""),
    ("model", 7),
    ("model", None),
    ("model", "x" * 10_000),
    ("model", "a\0b"),
    ("model", "a\\..\\b"),
    ("max_tokens", -2),
    ("max_tokens", 10**9),
    ("max_tokens", 20_000),
    ("max_tokens", 1.5),
    ("max_tokens", "many"),
    ("temperature", -0.1),
    ("temperature", 2.5),
    ("temperature", "hot"),
    ("top_p", 1.01),
    ("top_p", -1),
    ("n", 0),
    ("n", 17),
    ("n", 10**30),
    ("seed", 2**70),
    ("seed", "x"),
    ("presence_penalty", 2.1),
    ("frequency_penalty", -2.1),
    ("logit_bias", {"x": 1}),
    ("logit_bias", {"1": 101}),
    ("logit_bias", {"-1": 1}),
    ("logit_bias", {"100000": 1}),
    ("logit_bias", [1]),
    ("stop", ["x"] * 17),
    ("stop", ["\0"]),
    ("stop", ["x" * 10_000]),
    ("stop", {"a": 1}),
    ("stop", [1]),
    ("stream", "perhaps"),
    ("stream_options", {"include_usage": True}),
    ("top_k", -2),
    ("min_p", 1.5),
    ("repetition_penalty", 0),
    ("stop_token_ids", [10**6]),
    ("guided_regex", "("),
    ("guided_choice", []),
    ("guided_json", {"type": "nothing"}),
    ("repeat_penalty", 1.2),
    ("chat_template", "{{ 1 }}"),
]
CHAT_ONLY: list[tuple[str, Any]] = [
    ("messages", []),
    ("messages", "hi"),
    ("messages", None),
    ("messages", [{"role": "user"}]),
    ("messages", [{"content": "x"}]),
    ("messages", [{"role": "wizard", "content": "x"}]),
    ("messages", [{"role": "user", "content": "a\0b"}]),
    ("messages", [{"role": "user", "content": None}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
    ("messages", [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages", [{"role": "user", "content": ["x"]}]),
    ("messages", [{"role": "tool", "tool_call_id": "1"}]),
    ("messages", [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}]),
    ("messages", [{"role": [], "content": "x"}]),
    ("messages", [{"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}]),
    ("messages", [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 5}}]}]),
    ("messages", [7]),
    ("max_tokens", 0),
    ("max_completion_tokens", 0),
    ("max_completion_tokens", 20_000),
    ("top_logprobs", 3),
    ("tools", [{"type": "function", "function": {"name": "no name"}}]),
    ("tool_choice", "required"),
    ("functions", [{"name": "f"}]),
    ("function_call", {"name": "f"}),
    ("audio", {"voice": "x"}),
    ("modalities", ["audio"]),
    ("web_search_options", {}),
    ("chat_template_kwargs", {"messages": 1}),
    ("chat_template_kwargs", []),
    ("continue_final_message", "perhaps"),
    ("response_format", {"type": "grammar"}),
    ("response_format", {"type": "json_schema"}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}),
    ("prompt", "x"),
]
COMPLETION_ONLY: list[tuple[str, Any]] = [
    ("prompt", ""),
    ("prompt", None),
    ("prompt", []),
    ("prompt", [""]),
    ("prompt", [[]]),
    ("prompt", 5),
    ("prompt", ["a", 5]),
    ("prompt", [1.5]),
    ("prompt", [True]),
    ("prompt", ["a\0b"]),
    ("prompt", [-1]),
    ("prompt", [10**6]),
    ("prompt", [2**70]),
    ("prompt", ["x"] * 65),
    ("logprobs", 21),
    ("logprobs", True),
    ("suffix", "x"),
    ("best_of", 3),
    ("messages", [{"role": "user", "content": "x"}]),
]
CASES = [
    *(
        (path, base, *case)
        for path, base in (("chat/completions", CHAT), ("completions", COMPLETION))
        for case in BOTH
    ),
    *(("chat/completions", CHAT, *case) for case in CHAT_ONLY),
    *(("completions", COMPLETION, *case) for case in COMPLETION_ONLY),
]


@pytest.mark.usefixtures("lives_on")
@pytest.mark.parametrize(("path", "base", "name", "value"), CASES, ids=lambda value: repr(value)[:30])
def test_bad_values_name_their_parameter(
    client: httpx.Client, path: str, base: dict[str, Any], name: str, value: Any
) -> None:
    check(client.post(f"/v1/{path}", json={**base, name: value}), 400, param=name)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "presence_penalty", "max_tokens", "n", "seed"])
def test_numbers_that_are_none(client: httpx.Client, name: str, number: str) -> None:
    body = json.dumps({**COMPLETION, name: "NUMBER"}).replace('"NUMBER"', number)
    headers = {"content-type": "application/json"}
    check(client.post("/v1/completions", content=body, headers=headers), 400, param=name)
    body = json.dumps({**COMPLETION, "logit_bias": {"5": "NUMBER"}}).replace('"NUMBER"', number)
    check(client.post("/v1/completions", content=body, headers=headers), 400, param="logit_bias")


@pytest.mark.parametrize("name", ["prompt", "model", "stop"])
def test_lone_surrogates(client: httpx.Client, name: str) -> None:
    body = json.dumps({**COMPLETION, name: "SURROGATE"}).replace("SURROGATE", "\\ud83d")
    headers = {"content-type": "application/json"}
    check(client.post("/v1/completions", content=body, headers=headers), 400, param=name)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"[" * 15_000, b'{"\\ud800": 1}', b'{"tools": NaN}'],
    ids=lambda content: repr(content[:12]),
)
def test_bodies_that_are_no_request(client: httpx.Client, content: bytes) -> None:
    for path in ("chat/completions", "completions"):
        answer = client.post(f"/v1/{path}", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_what_is_nowhere(client: httpx.Client) -> None:
    assert check(client.get("/v1/nothing"), 404)["code"] == "unknown_url"
    check(client.get("/v1/completions"), 405)
    check(client.post("/v1/moderations", json={}), 404)
    # Other surfaces keep their own shape.
    assert isinstance(client.get("/api/nothing").json()["error"], str)


def test_every_parameter_of_the_official_client_is_known() -> None:
    """Honoured, ignored or refused by name; a new version of the client may bring more."""
    for kind, base, ours in (
        (chat_create_params.CompletionCreateParamsBase, chat_create_params, ChatRequest),
        (completion_create_params.CompletionCreateParamsBase, completion_create_params, CompletionRequest),
    ):
        theirs = set(get_type_hints(kind, vars(base)))
        assert len(theirs) > 10
        assert theirs <= set(ours.model_fields) | IGNORED | set(REFUSED)
    assert not set(ChatRequest.model_fields) & (IGNORED | set(REFUSED))


def test_the_exceptions_of_the_official_client(running: Running) -> None:
    with connect(running) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(**{**CHAT, "model": "nobody/nothing"})
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        for model_id in ("nope", "nobody/nothing", "../etc", "/etc/passwd", "sorter/x"):
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve(model_id)
        with pytest.raises(openai.BadRequestError) as tools:
            client.chat.completions.create(**CHAT, functions=[{"name": "f"}])
        assert tools.value.param == "functions"
        assert tools.value.type == "invalid_request_error"
        assert "send tools" in tools.value.message
        with pytest.raises(openai.BadRequestError) as template:
            client.chat.completions.create(**{**CHAT, "model": "llama"})
        assert template.value.param == "messages"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**CHAT, stream=True, temperature=-1)
        with pytest.raises(openai.BadRequestError):
            client.completions.create(**COMPLETION, extra_body={"mirostat": 2})


def test_prompts_past_the_context(running: Running) -> None:
    with connect(running) as client:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as long:
                client.completions.create(model="gpt2", prompt="the " * 100, stream=stream)
            assert (long.value.code, long.value.param) == ("context_length_exceeded", "prompt")
            turns: Any = [{"role": "user", "content": "Who? " * 300}]
            with pytest.raises(openai.BadRequestError) as long:
                client.chat.completions.create(model="tales", messages=turns, stream=stream)
            assert (long.value.code, long.value.param) == ("context_length_exceeded", "messages")
            assert "256" in long.value.message


def test_keys(model_dir: Path) -> None:
    with serving(model_dir, api_keys=KEY) as running:
        with (
            connect(running, api_key="wrong-key") as client,
            pytest.raises(openai.AuthenticationError) as wrong,
        ):
            client.models.list()
        assert wrong.value.code == "invalid_api_key"
        with connect(running, api_key=KEY) as client:
            assert client.completions.create(**COMPLETION).usage.completion_tokens <= 2
        with running.client() as plain:
            check(plain.post("/v1/chat/completions", json=CHAT), 401)


def test_foreign_hosts_and_origins(running: Running) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        with connect(running, default_headers=headers) as client, pytest.raises(openai.PermissionDeniedError):
            client.completions.create(**COMPLETION)


def test_rates(model_dir: Path) -> None:
    with serving(model_dir, rate_limit="2/minute") as running, connect(running) as client:
        client.models.list()
        client.models.list()
        with pytest.raises(openai.RateLimitError) as often:
            client.models.list()
        assert often.value.code == "rate_limit_exceeded"
        assert 1 <= int(often.value.response.headers["Retry-After"]) <= 60


def test_a_full_queue(model_dir: Path) -> None:
    with serving(model_dir, max_running=2, max_waiting=0) as running, connect(running) as client:
        with client.completions.create(**LONG, stream=True) as stream:
            next(iter(stream))
            for options in ({"n": 2}, {"n": 3}, {"n": 2, "stream": True}):
                with pytest.raises(openai.RateLimitError) as full:
                    client.completions.create(**{**COMPLETION, **options})
                assert int(full.value.response.headers["Retry-After"]) >= 1
            # Nothing of what was refused is left behind.
            wait_until(lambda: running.services.count_generations() == 1)
            assert client.completions.create(**COMPLETION).choices
        wait_until(lambda: running.services.count_generations() == 0)


def test_a_large_body(client: httpx.Client) -> None:
    assert check(client.post("/v1/completions", json={**COMPLETION, "prompt": "x" * 3_000_000}), 413)["code"]


def test_a_body_that_does_not_come(model_dir: Path) -> None:
    with serving(model_dir, body_timeout_secs=0.3) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            )
            answer = b""
            while chunk := connection.recv(1000):
                answer += chunk
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] == "timeout"


def test_a_deadline(model_dir: Path) -> None:
    """Told at once where the answer has not begun, as the last line where it has; and never asked for again."""
    with serving(model_dir, request_timeout_secs=0.7) as running:
        running.services.registry.load("llama").result(30)
        with connect(running, max_retries=2) as client, running.client() as plain:
            with pytest.raises(openai.InternalServerError) as late:
                client.completions.create(**LONG)
            assert (late.value.status_code, late.value.code) == (504, "timeout")
            assert late.value.response.request.headers["x-stainless-retry-count"] == "0"
            with pytest.raises(openai.APIError, match="longer"):
                list(client.completions.create(**LONG, stream=True))
            with plain.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
                events = "".join(answer.iter_text()).split("\n\n")[:-1]
        error = json.loads(events[-1].removeprefix("data: "))["error"]
        assert (error["type"], error["code"]) == ("server_error", "timeout")
        assert all(event.startswith(("data: ", ": ")) for event in events)
        wait_until(lambda: running.services.count_generations() == 0)


def test_a_server_that_stops(model_dir: Path) -> None:
    ended: list[str] = []

    def follow(running: Running) -> None:
        with connect(running) as client:
            try:
                list(client.completions.create(**LONG, stream=True))
            except openai.APIError as error:
                ended.append(error.message)

    with serving(model_dir) as running:
        running.services.registry.load("llama").result(30)
        thread = threading.Thread(target=follow, args=(running,))
        thread.start()
        wait_until(lambda: running.services.count_generations() == 1)
        running.server.should_exit = True
        thread.join(10)
    assert len(ended) == 1
