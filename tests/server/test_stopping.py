"""A server that is told to stop, as its own process: what those hear who wait for what will not come."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

COMMAND = [sys.executable, "-c", "from glassformer.cli import app; app()", "serve", "--port", "0"]


@contextmanager
def deaf_hub() -> Iterator[str]:
    """A hub that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
def test_who_waits_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    answers: dict[str, httpx.Response] = {}
    with deaf_hub() as hub:
        process = subprocess.Popen(
            [*COMMAND, "--hub-endpoint", hub, "--default-model", "sorter"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = process.stdout.readline().strip().removesuffix("/llm")

            def ask(path: str, body: dict[str, object]) -> None:
                answers[path] = httpx.post(url + path, json=body, timeout=60, trust_env=False)

            far = {"model_id": "some/where", "prompt": "x"}
            calls: dict[str, dict[str, object]] = {
                "/generate": far,
                "/generate/stream": far,
                "/tokenize": far,
                "/v1/completions": {"model": "some/where", "prompt": "x"},
            }
            threads = [threading.Thread(target=ask, args=call) for call in calls.items()]
            with connect(f"{url.replace('http', 'ws')}/api/live", proxy=None) as live:
                for thread in threads:
                    thread.start()
                time.sleep(1)
                started = time.monotonic()
                process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    live.recv(timeout=10)
                for thread in threads:
                    thread.join(20)
            assert process.wait(20) in (0, -signal.SIGTERM)
            assert time.monotonic() - started < 10
            said = process.stderr.read()
        finally:
            process.kill()
            process.communicate()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(calls, 503)
    for answer in answers.values():
        assert "stopping" in json.dumps(answer.json())
        assert int(answer.headers["Retry-After"]) >= 1
    assert "Traceback" not in said, said
