"""What the log tells of a fault: where it happened, and never a key, a prompt, or anybody's folder."""

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

KEY = "sk-classroom-2604"
HUB_TOKEN = "hf_ThisIsNobodysToken"
PROMPT = "my diary of last summer"
# A route that fails as ours would: the prompt, the key and a folder among its variables and in its message.
CODE = """
import logging, sys, threading
from fastapi import Request
from fastapi.testclient import TestClient
from glassformer.server.app import create_app
from glassformer.server.log import configure_logging
from glassformer.settings import Settings

key, hub_token, folder, log_format = sys.argv[1:]
settings = Settings(
    api_keys=[key], hub_token=hub_token, model_dirs=[folder], log_format=log_format, default_model="sorter",
    offline=True,
)
configure_logging(settings)
app = create_app(settings)

def dig(depth, prompt, where):
    if depth:
        return dig(depth - 1, prompt, where)
    try:
        {}[prompt]
    except KeyError:
        raise ValueError(f"cannot read {prompt!r} in {where}/weights with {key}, as " + "so " * 5000)

@app.post("/fault")
async def fail(request: Request) -> None:
    body = await request.json()
    numbers = list(range(10_000))
    dig(200, body["prompt"], folder)

client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
answer = client.post("/fault", json={"prompt": "PROMPT"}, headers={"Authorization": f"Bearer {key}"})
assert answer.status_code == 500, answer.text
try:
    dig(3, "PROMPT", folder)
except ValueError as fault:
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=fault)
threading.Thread(target=dig, args=(3, "PROMPT", folder)).start()
""".replace("PROMPT", PROMPT)


def run_on_a_terminal(command: list[str]) -> str:
    """What a program writes to a terminal of its own on standard error."""
    ours, its = pty.openpty()
    written = bytearray()

    def read() -> None:
        try:
            while found := os.read(ours, 65536):
                written.extend(found)
        except OSError:  # how Linux says that the other side has been closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its, timeout=120, check=False)
    os.close(its)
    reader.join(10)
    os.close(ours)
    assert done.returncode == 0, written.decode()
    return written.decode()


@pytest.mark.parametrize("log_format", ["auto", "console", "json"])
def test_a_fault_tells_where_and_nothing_of_anybody(log_format: str, tmp_path: Path) -> None:
    folder = tmp_path / "thesis models"
    folder.mkdir()
    told = run_on_a_terminal([sys.executable, "-c", CODE, KEY, HUB_TOKEN, str(folder), log_format])
    for secret in (KEY, HUB_TOKEN, PROMPT, str(tmp_path), sys.prefix):
        assert secret not in told
    assert "a request failed" in told
    assert "Exception in ASGI application" in told
    assert "a thread ended in a fault" in told
    assert told.count("ValueError: cannot read (left out) in") == 3
    assert told.count("KeyError: (left out)") == 3
    assert "in fail" not in told  # 200 calls lie between
    assert "glassformer/server/watch.py" not in told
    assert told.count(" in dig") > 4
    assert len(told) < 30_000


def test_lines_of_json_hold_the_fault(tmp_path: Path) -> None:
    told = run_on_a_terminal([sys.executable, "-c", CODE, KEY, HUB_TOKEN, str(tmp_path), "json"])
    events = [json.loads(line) for line in told.splitlines()]
    faults = [event for event in events if "exception" in event]
    assert len(faults) == 3
    assert all(event["exception"].splitlines()[-1].startswith("ValueError: cannot") for event in faults)


# As in a notebook, or where the app is mounted into another one: nobody has set the log up.
EMBEDDED = """
import sys
import structlog
from glassformer.server.app import create_app
from glassformer.settings import Settings

create_app(Settings(offline=True, default_model="sorter"))
def read(prompt, key):
    numbers = list(range(10_000))
    raise ValueError(f"cannot read {prompt!r}")
try:
    read(sys.argv[1], sys.argv[2])
except ValueError:
    structlog.get_logger().exception("a stream failed")
"""


def test_an_app_inside_another_program_tells_no_more(tmp_path: Path) -> None:
    told = run_on_a_terminal([sys.executable, "-c", EMBEDDED, PROMPT, KEY])
    assert "ValueError: cannot read (left out)" in told
    assert PROMPT not in told
    assert KEY not in told
    assert len(told) < 2000
