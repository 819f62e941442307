"""Clients that hang up, and what the server generates after that."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from serving import Running


def wait_until(condition: Callable[[], bool], secs: float = 10) -> None:
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def generated(running: Running) -> float:
    value = running.services.metrics.registry.get_sample_value(
        "glassformer_tokens_total", {"kind": "generated"}
    )
    return value or 0.0


def leave(running: Running, path: str, body: dict[str, Any], *, after_tokens: int) -> float:
    """Ask, wait until more than so many tokens were generated, hang up; the tokens generated after that."""
    host, port = running.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    before = generated(running)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        wait_until(lambda: generated(running) > before + after_tokens)
        assert running.services.count_generations() == body.get("n", 1)
        count = generated(running)
    wait_until(lambda: running.services.count_generations() == 0)
    return generated(running) - count
