"""What must be refused: the right status, one clear sentence that names the field, and a server that lives on."""

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from serving import Running

GOOD = {"model_id": "llama", "prompt": "the quick", "max_new_tokens": 2}


@pytest.fixture(autouse=True)
def lives_on(client: httpx.Client) -> Iterator[None]:
    """After each bad request a good one works."""
    yield
    assert client.post("/generate", json=GOOD).status_code == 200


def check(answer: httpx.Response, *statuses: int, field: str | None = None) -> None:
    assert answer.status_code in statuses, answer.text
    body = answer.json()
    assert set(body) <= {"error", "field"}
    assert 5 < len(body["error"]) < 400
    assert body["error"].endswith(".")
    assert not re.search(r"(?:^|[\s'\"(])(?:/\w+){2}|0x[0-9a-f]{6}|Traceback|\.py\b|https?://", body["error"])
    if field is not None:
        assert body["field"] == field


VALUES = [
    ("prompt", ""),
    ("prompt", 5),
    ("prompt", None),
    ("prompt", ["a"]),
    ("prompt", "a\0b"),
    ("model_id", ""),
    ("model_id", 7),
    ("model_id", "x" * 10_000),
    ("model_id", "a\0b"),
    ("model_id", "../../etc/passwd"),
    ("model_id", "file:///etc/passwd"),
    ("model_id", "https://example.com/model"),
    ("model_id", "a\\..\\b"),
    ("max_new_tokens", 0),
    ("max_new_tokens", -1),
    ("max_new_tokens", 10**9),
    ("max_new_tokens", 10**30),
    ("max_new_tokens", 1.5),
    ("max_new_tokens", "many"),
    ("max_new_tokens", None),
    ("temperature", -0.1),
    ("temperature", 1e9),
    ("temperature", "hot"),
    ("temperature", {}),
    ("top_p", 0),
    ("top_p", 1.01),
    ("top_p", -1),
    ("top_k", -2),
    ("top_k", 10**9),
    ("repetition_penalty", 0),
    ("repetition_penalty", -2),
    ("seed", -2),
    ("seed", 2**70),
    ("stop", ["x"] * 100),
    ("stop", ["\0"]),
    ("stop", ["x" * 10_000]),
    ("stop", {"a": 1}),
]


@pytest.mark.parametrize("path", ["/generate", "/generate/stream"])
@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda value: repr(value)[:30])
def test_bad_values_name_their_field(client: httpx.Client, path: str, name: str, value: object) -> None:
    answer = client.post(path, json={**GOOD, name: value})
    check(answer, 400, 404, 422)
    assert answer.json()["field"].split(".")[0] == name


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "repetition_penalty", "max_new_tokens", "seed", "top_k"]
)
def test_numbers_that_are_none(client: httpx.Client, name: str, number: str) -> None:
    body = json.dumps(GOOD)[:-1] + f', "{name}": {number}}}'
    check(
        client.post("/generate", content=body, headers={"content-type": "application/json"}), 422, field=name
    )


@pytest.mark.parametrize("name", ["prompt", "model_id", "stop"])
def test_lone_surrogates(client: httpx.Client, name: str) -> None:
    body = json.dumps({**GOOD, name: "SURROGATE"}).replace("SURROGATE", "\\ud83d")
    answer = client.post("/generate", content=body, headers={"content-type": "application/json"})
    check(answer, 422)
    assert answer.json()["field"].split(".")[0] == name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 15_000,
        b'{"model_id": "llama", "prompt": ' + b"1" * 6000 + b"}",
        b'{"\\ud800": 1}',
    ],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("path", ["/generate", "/tokenize", "/config", "/api/traces"])
def test_bodies_that_are_no_request(client: httpx.Client, path: str, content: bytes) -> None:
    check(client.post(path, content=content, headers={"content-type": "application/json"}), 400, 422)


def test_a_form_is_no_request(client: httpx.Client) -> None:
    check(client.post("/generate", data={"model_id": "llama", "prompt": "x"}), 415, 422)


def test_unknown_models(client: httpx.Client) -> None:
    for model_id in ("nope", "nobody/nothing", "/etc", "./x", "~", "a/b/c/d"):
        check(client.post("/generate", json={**GOOD, "model_id": model_id}), 404, field="model_id")
        check(client.post("/config", json={"model_id": model_id}), 404, field="model_id")
        check(client.post("/tokenize", json={**GOOD, "model_id": model_id}), 404, field="model_id")


def test_prompts_past_the_context_three_times(client: httpx.Client) -> None:
    for _ in range(3):
        for path in ("/generate", "/generate/stream"):
            answer = client.post(path, json={**GOOD, "model_id": "gpt2", "prompt": "the " * 100})
            check(answer, 422, field="prompt")
            assert "64" in answer.json()["error"]


def test_a_large_body(client: httpx.Client) -> None:
    check(client.post("/generate", json={**GOOD, "prompt": "x" * 3_000_000}), 413)


def test_a_chunked_body_without_end(running: Running) -> None:
    """Sent by hand: refused as soon as it is too large, not when it ends."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(1000):
                connection.sendall(chunk)
        except OSError:
            pass  # it has hung up on us, which is right
        else:
            pytest.fail("the server read 64 MB")


def test_large_headers(client: httpx.Client) -> None:
    answer = client.get("/api/models", headers={"X-Large": "x" * 40_000})
    check(answer, 413, 431)
    assert client.get("/api/models", headers={"X-Small": "x" * 4000}).status_code == 200


def test_very_large_headers_end_the_connection(running: Running) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000_000)
            status = connection.recv(100)
        except OSError:
            return
        assert status == b"" or b" 400 " in status or b" 431 " in status


def test_what_is_nowhere(client: httpx.Client) -> None:
    check(client.get("/nothing"), 404)
    check(client.get("/generate"), 405)
    check(client.get("/api/nothing"), 404)


TRACE = {"model_id": "llama", "prompt": "the quick"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"token_ids": [1]}, "token_ids"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a\0"}, "prompt"),
        ({"prompt": None, "token_ids": []}, "token_ids"),
        ({"prompt": None, "token_ids": [-1]}, "token_ids"),
        ({"prompt": None, "token_ids": [10**6]}, "token_ids"),
        ({"prompt": None, "token_ids": [2**70]}, "token_ids"),
        ({"prompt": None, "token_ids": "abc"}, "token_ids"),
        ({"prompt": None, "token_ids": [5] * 5000}, "token_ids"),
        ({"prompt": None, "messages": []}, "messages"),
        ({"prompt": None, "messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({"prompt": None, "messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"sampling": {"temperature": -1}}, "sampling"),
        ({"sampling": {"top_p": 0}}, "sampling"),
        ({"stop": [""]}, "stop"),
        ({"unknown": 1}, "unknown"),
        ({"model_id": ""}, "model_id"),
    ],
)
def test_traces_that_cannot_be(client: httpx.Client, change: dict[str, object], field: str) -> None:
    answer = client.post("/api/traces", json={**TRACE, **change})
    check(answer, 422)
    assert answer.json()["field"].split(".")[0] == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        *(
            (f'{{"{name}": {value}}}', f"sampling.{name}")
            for name in (
                "temperature",
                "top_p",
                "min_p",
                "typical_p",
                "repetition_penalty",
                "presence_penalty",
                "frequency_penalty",
            )
            for value in ("NaN", "Infinity", "-Infinity", "1e400", "-3", "1e30", '"x"')
        ),
        *(
            (f'{{"top_k": {value}}}', "sampling.top_k")
            for value in ("-1", "1.5", "1e400", "NaN", "1" + "0" * 40)
        ),
        *((f'{{"seed": {value}}}', "sampling.seed") for value in ("-1", "1.5", "NaN", "1" + "0" * 40)),
        ('{"logit_bias": {"5": NaN}}', "sampling.logit_bias.5"),
        ('{"logit_bias": {"5": 101}}', "sampling.logit_bias.5"),
        ('{"logit_bias": {"-5": 1}}', "sampling.logit_bias.-5.[key]"),
        ('{"logit_bias": {"five": 1}}', "sampling.logit_bias.five.[key]"),
        ('{"logit_bias": {"399999": 1}}', "logit_bias"),
        ('{"forced_token_ids": [-1]}', "sampling.forced_token_ids.0"),
        ('{"forced_token_ids": [399999]}', "forced_token_ids"),
        ('{"constraint": {}}', "sampling.constraint"),
        ('{"constraint": {"regex": "a", "choices": ["a"]}}', "sampling.constraint"),
        ('{"constraint": {"regex": ""}}', "sampling.constraint.regex"),
        ('{"constraint": {"regex": "(a"}}', "constraint"),
        ('{"constraint": {"choices": []}}', "sampling.constraint.choices"),
        ('{"constraint": {"choices": [""]}}', "sampling.constraint.choices.0"),
        ('{"constraint": {"json_schema": {"type": "objct"}}}', "constraint"),
        ('{"constraint": {"json_schema": ' + '{"items":' * 300 + "{}" + "}" * 300 + "}}", "constraint"),
        ('{"constraint": {"choices": ["yes"]}, "forced_token_ids": [3]}', "forced_token_ids"),
    ],
)
def test_samplings_that_cannot_be(client: httpx.Client, value: str, field: str) -> None:
    body = f'{{"model_id": "llama", "prompt": "the quick", "max_new_tokens": 2, "sampling": {value}}}'
    answer = client.post("/api/traces", content=body, headers={"content-type": "application/json"})
    check(answer, 422, field=field)
    assert client.post("/api/traces", json=TRACE).status_code == 201


def test_a_trace_with_a_lone_surrogate(client: httpx.Client) -> None:
    body = json.dumps({**TRACE, "prompt": "X"}).replace('"X"', '"\\udc00"')
    check(
        client.post("/api/traces", content=body, headers={"content-type": "application/json"}),
        422,
        field="prompt",
    )


def test_questions_that_cannot_be_answered(client: httpx.Client) -> None:
    trace_id = client.post("/api/traces", json=TRACE).json()["id"]
    client.get(f"/api/traces/{trace_id}/events")
    base = f"/api/traces/{trace_id}"
    check(client.get(f"{base}/distribution"), 422, field="pos")
    check(client.get(f"{base}/distribution?pos=-1"), 422, field="pos")
    check(client.get(f"{base}/distribution?pos=99"), 422, field="pos")
    check(client.get(f"{base}/distribution?pos=0&temperature=nan"), 422, field="temperature")
    check(client.get(f"{base}/distribution?pos=0&top_p=inf"), 422, field="top_p")
    check(client.get(f"{base}/distribution?pos=0&limit=0"), 422, field="limit")
    check(client.get(f"{base}/explain?address=nothing.0&index=0"), 404, 422, field="address")
    check(client.get(f"{base}/explain?address=resid_pre.99&index=0,0"), 404, 422, field="address")
    check(client.get(f"{base}/explain?address=resid_pre.0&index=0"), 422, field="index")
    check(client.get(f"{base}/explain?address=resid_pre.0&index=0,99999"), 422, field="index")
    check(client.get(f"{base}/explain?address=resid_pre.0&index=-1,0"), 422, field="index")
    check(client.get(f"{base}/explain?address=resid_pre.0&index=a"), 422, field="index")
    check(client.get(f"{base}/zarr/nothing/zarr.json"), 404)
    check(client.get(f"{base}/zarr/resid_pre.0/0/c/9/9"), 404)
    check(client.get(f"{base}/zarr/resid_pre.0/0/c/-1/0"), 404)
    check(client.get(f"{base}/zarr/..%2f..%2fetc%2fpasswd"), 404)
    check(client.get("/api/models/llama/zarr/nothing/0/c/0"), 404)
    for path in ("", "/events", "/distribution?pos=0", "/explain?address=a&index=0", "/zarr/zarr.json"):
        check(client.get(f"/api/traces/unknown{path}"), 404)
    check(client.post("/api/traces/unknown/stop"), 404)
    check(client.delete("/api/traces/unknown"), 404)
