"""No body keeps the others waiting: what is read of it is bounded, and its first fault ends the reading."""

import asyncio
import json
import time

import httpx
import pytest

from glassformer.server.app import create_app
from glassformer.settings import Settings

LARGEST = Settings().max_body_bytes - 200


def fill(item: object, share: float = 1.0) -> str:
    """A list of so many of `item` as fit into a body, or into a share of it."""
    text = json.dumps(item)
    return f"[{','.join([text] * int(LARGEST * share / (len(text) + 1)))}]"


def name(count: int, value: object) -> str:
    return ",".join(f'"n{at}":{json.dumps(value)}' for at in range(count))


CHAT, TEXT, TRACE = "/v1/chat/completions", "/v1/completions", "/api/traces"
# As many as are just let in, and as many as fit.
BODIES = {
    "messages": (CHAT, f'"messages":{fill({})}'),
    "messages let in": (CHAT, f'"messages":{fill({}, 0.025)}'),
    "stop": (TEXT, f'"prompt":"a","stop":{fill(1)}'),
    "stop let in": (TEXT, f'"prompt":"a","stop":{fill(1, 0.5)}'),
    "choices": (TEXT, f'"prompt":"a","guided_choice":{fill(1, 0.5)}'),
    "prompts": (TEXT, f'"prompt":{fill([], 0.025)}'),
    "biases": (TEXT, f'"prompt":"a","logit_bias":{{{name(50_000, "x")}}}'),
    "unknown names": (TEXT, f'"prompt":"a",{name(50_000, 1)}'),
    "many names": (TEXT, f'"prompt":"a",{name(150_000, 1)}'),
    "nesting": (CHAT, f'"messages":{"[" * 19_000}'),
    "tools": (CHAT, f'"messages":[{{"role":"user","content":"a"}}],"tools":{fill({}, 0.025)}'),
    "parts": (CHAT, f'"messages":[{{"role":"user","content":{fill({}, 0.025)}}}]'),
    "token ids": (TRACE, f'"token_ids":{fill("x", 0.7)}'),
    "recorded messages": (TRACE, f'"messages":{fill({}, 0.025)}'),
    "interventions": (TRACE, f'"prompt":"a","interventions":{fill({}, 0.025)}'),
    "inputs": ("/v1/embeddings", f'"input":{fill(None)}'),
    "items": ("/v1/responses", f'"input":{fill({}, 0.025)}'),
    "answers": (
        "/v1/decisions",
        f'"messages":[{{"role":"user","content":"a"}}],"answers":{fill(1, 0.5)}',
    ),
    "tokens": ("/detokenize", f'"tokens":{fill("x", 0.7)}'),
    "classic stop": ("/generate", f'"prompt":"a","stop":{fill(1, 0.5)}'),
}


async def measure_lag(path: str, body: bytes) -> tuple[httpx.Response, float]:
    """The answer, and the longest that everything else on the loop had to wait, in seconds."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            worst = max(worst, time.perf_counter() - began)

    app = create_app(Settings(rate_limit=""))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as client:
        await client.get("/health")
        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0)
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        ticking.cancel()
    return answer, worst


@pytest.mark.parametrize("case", BODIES)
def test_nobody_waits_much_longer_than_the_body_is_read(case: str) -> None:
    path, fields = BODIES[case]
    text = f'{{"model":"tales",{fields}}}'
    if path in {TRACE, "/generate"}:
        text = text.replace('"model"', '"model_id"', 1)
    plain = json.dumps(list(range(300_000)))
    began = time.perf_counter()
    json.loads(plain)
    reading_secs = time.perf_counter() - began
    answer, lag_secs = asyncio.run(measure_lag(path, text.encode()))
    assert answer.status_code in ({200} if case == "unknown names" else {400, 413, 422}), answer.text
    # Telling of each fault took a thousand times as long as reading it.
    assert lag_secs < 40 * reading_secs


def test_what_stands_in_a_string_is_no_value() -> None:
    prompt = '[{,:"\\' * 100_000
    body = json.dumps({"model_id": "nowhere", "prompt": prompt}).encode()
    answer, _ = asyncio.run(measure_lag("/tokenize", body))
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["error"]
