"""A client of surface B that goes away stops all of its generations within a step, streaming or not."""

import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from leaving import generated, leave, wait_until
from serving import Running, serving
from talking import TALKER, TURNS, connect, make_talker

# Greedily, the tiny models fall into a circle and never end by themselves.
LONG: dict[str, Any] = {"model": "llama", "prompt": "the quick", "max_tokens": 3500, "temperature": 0, "n": 3}
LONG_CHAT: dict[str, Any] = {"model": TALKER, "messages": TURNS, "max_tokens": 3500, "temperature": 0, "n": 3}


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory):
    root = make_talker(tmp_path_factory.mktemp("talker"))
    with serving(root, rate_limit="", default_model=TALKER) as running:
        running.services.registry.load(TALKER).result(30)
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_stops_all_choices(talking: Running, stream: bool) -> None:
    """Again and again: a cancellation must not get lost where it meets a token."""
    for _ in range(10):
        # Three steps, in theory; on a busy machine the hanging-up itself takes some.
        assert leave(talking, "/v1/chat/completions", {**LONG_CHAT, "stream": stream}, after_tokens=15) < 1500
        body = {**LONG, "model": TALKER, "n": 2, "stream": stream}
        assert leave(talking, "/v1/completions", body, after_tokens=15) < 1500
    with connect(talking) as client:
        assert client.chat.completions.create(**{**LONG_CHAT, "max_tokens": 2}).choices


def test_an_impatient_client(running: Running) -> None:
    """Its own deadline ends the server's work, too."""
    with connect(running) as client:
        client.completions.create(**{**LONG, "max_tokens": 1})
        started = time.monotonic()
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.3).completions.create(**LONG)
        assert time.monotonic() - started < 5
        wait_until(lambda: running.services.count_generations() == 0)
        assert client.completions.create(**{**LONG, "max_tokens": 2}).choices


def test_a_closed_stream(running: Running) -> None:
    with connect(running) as client:
        with client.completions.create(**LONG, stream=True) as stream:
            for _ in range(5):
                next(iter(stream))
            assert running.services.count_generations() == 3
        wait_until(lambda: running.services.count_generations() == 0)


def test_choices_are_written_together(running: Running) -> None:
    """No choice waits for another to end."""
    seen: dict[int, list[int]] = {}
    with connect(running) as client:
        for count, chunk in enumerate(client.completions.create(**{**LONG, "max_tokens": 60}, stream=True)):
            seen.setdefault(chunk.choices[0].index, []).append(count)
    assert set(seen) == {0, 1, 2}
    assert max(counts[0] for counts in seen.values()) < min(counts[-1] for counts in seen.values())


def test_a_client_that_leaves_while_a_prompt_is_read(model_dir: Path) -> None:
    """The model is busy: nobody has got a token yet."""
    with serving(model_dir) as running, running.client() as client:
        loaded = running.services.registry.load("llama").result(30)
        with loaded.lock:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json=LONG, timeout=0.3)
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json={**LONG, "echo": True, "logprobs": 1}, timeout=0.3)
        wait_until(lambda: running.services.count_generations() == 0)
        assert generated(running) == 0
