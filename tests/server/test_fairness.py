"""A polite client is never refused, and goes on, beside one that asks for everything at once."""

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Running, serving
from tiny import make_model

KEYS = {"greedy": "greedy-key-0123456789", "polite": "polite-key-0123456789"}
LONG = {"model_id": "llama", "prompt": "the quick", "max_new_tokens": 10_000, "temperature": 1.0, "seed": 1}
SHORT: dict[str, Any] = {"model_id": "llama", "max_new_tokens": 12, "temperature": 0}
CROWD = 60


def connect(server: Running, name: str, *, by_key: bool) -> httpx.Client:
    """A client with a key, or an address, of its own."""
    headers = {"authorization": f"Bearer {KEYS[name]}"} if by_key else {}
    address = None if by_key else "127.0.0.2" if name == "greedy" else "127.0.0.3"
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_connections=CROWD + 1))
    return httpx.Client(
        base_url=server.url, headers=headers, transport=transport, timeout=60, trust_env=False
    )


@pytest.mark.parametrize("by_key", [True, False], ids=["keys", "addresses"])
def test_a_crowd_of_ones_texts_keeps_nobody_else_out(tmp_path: Path, by_key: bool) -> None:
    if not by_key and sys.platform != "linux":
        pytest.skip("only Linux takes all of 127.0.0.0/8 for this machine's")
    make_model(tmp_path / "llama", "llama")
    settings: dict[str, Any] = {"max_running": 4, "max_waiting": CROWD - 4, "rate_limit": ""}
    if by_key:
        settings["api_keys"] = list(KEYS.values())
    with serving(tmp_path, **settings) as server, connect(server, "greedy", by_key=by_key) as greedy:
        begun = threading.Semaphore(0)

        def ask() -> None:
            # Until the client is closed, which its threads hear in several ways.
            gone = suppress(httpx.HTTPError, httpx.StreamError, OSError)
            with gone, greedy.stream("POST", "/generate/stream", json=LONG) as answer:
                assert answer.status_code == 200
                begun.release()
                for _ in answer.iter_bytes():
                    pass

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(CROWD)]
        with connect(server, "polite", by_key=by_key) as polite:
            alone = [
                polite.post("/generate", json={**SHORT, "prompt": f"{number} fox"}).json()["text"]
                for number in range(8)
            ]
            for thread in threads:
                thread.start()
            for _ in threads:
                assert begun.acquire(timeout=60)
            # For the greedy one itself there is no place left.
            assert greedy.post("/generate", json={**SHORT, "prompt": "x"}).status_code == 429
            for number, text in enumerate(alone):
                answer = polite.post("/generate", json={**SHORT, "prompt": f"{number} fox"})
                assert answer.status_code == 200, answer.text
                assert answer.json()["text"] == text
