"""What can be done with connections, before and beside requests: held open, opened by hundreds, fed byte by byte."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from serving import Running, serving
from tiny import make_model
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

HEAD_SECS = 0.6
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
BODY = {"model_id": "llama", "prompt": "the quick"}
OTHER = "127.0.0.2"
needs_addresses = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux takes all of 127.0.0.0/8 for this machine's"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("models")
    make_model(root / "llama", "llama")
    with serving(root, head_timeout_secs=HEAD_SECS, max_connections=16, max_sockets=6) as server:
        httpx.post(f"{server.url}/tokenize", json=BODY, trust_env=False, timeout=60).raise_for_status()
        yield server


def call(server: Running, address: str | None = None) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    source = None if address is None else (address, 0)
    return socket.create_connection((host, int(port)), timeout=20, source_address=source)


def read_answer(connection: socket.socket) -> tuple[int, str]:
    """The status and sentence of an answer after which the server hangs up."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


def send_single_bytes(connection: socket.socket, count: int) -> None:
    for _ in range(count // 1000):
        connection.sendall(b"1\r\n \r\n" * 1000)


@pytest.mark.parametrize(
    ("before", "begun"),
    [(b"", b""), (b"", b"GET /hea"), (b"", GET[:-2]), (GET, b"GET /hea"), (GET, GET[:-2])],
)
def test_a_head_that_does_not_end_is_not_waited_for(running: Running, before: bytes, begun: bytes) -> None:
    with call(running) as connection:
        if before:
            connection.sendall(before)
            seen = b""
            while not seen.endswith(b'{"ok":true}'):
                seen += connection.recv(65536)
        connection.sendall(begun)
        assert read_answer(connection) == (408, "The request did not arrive in time.")


def test_a_head_that_trickles_is_not_waited_for_either(running: Running) -> None:
    with call(running) as connection:
        ended = threading.Event()

        def trickle() -> None:
            for byte in b"GET /health HTTP/1.1\r\nX: " + b"x" * 1000:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                if ended.wait(HEAD_SECS / 10):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert read_answer(connection)[0] == 408
        ended.set()
        thread.join()


def test_a_request_that_takes_longer_than_its_head_may_is_answered(running: Running) -> None:
    with call(running) as connection:
        text = json.dumps(BODY).encode()
        connection.sendall(POST)
        for at in range(0, len(text), 8):
            piece = text[at : at + 8]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            threading.Event().wait(HEAD_SECS / 4)
        connection.sendall(b"0\r\n\r\n")
        assert b" 200 " in connection.recv(65536)


@needs_addresses
def test_one_address_has_half_of_the_connections(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(call(running)).sendall(POST)
        with call(running) as more:
            assert read_answer(more) == (429, "Too many connections are open from there.")
        for _ in range(8):
            stack.enter_context(call(running, OTHER)).sendall(POST)
        with call(running, "127.0.0.3") as more:
            assert read_answer(more) == (503, "Too many connections are open.")
    assert httpx.get(f"{running.url}/health", trust_env=False).status_code == 200


@needs_addresses
def test_a_proxy_may_have_all_connections(tmp_path: Path) -> None:
    with (
        serving(
            tmp_path, default_model="sorter", max_connections=6, trusted_proxies=["127.0.0.0/24"]
        ) as server,
        ExitStack() as stack,
    ):
        for _ in range(6):
            stack.enter_context(call(server)).sendall(POST)
        with call(server) as more:
            assert read_answer(more)[0] == 503


def test_a_body_in_single_bytes_is_refused(running: Running) -> None:
    with call(running) as connection:
        connection.sendall(POST + b"1\r\n \r\n" * 1100)
        assert read_answer(connection) == (400, "The request's body comes in too many small pieces.")
    with call(running) as connection:
        connection.sendall(POST)
        # And it hangs up.
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_single_bytes(connection, 10**6)
    text = json.dumps({**BODY, "prompt": "fox " * 20_000}).encode()
    with call(running) as connection:
        pieces = [text[at : at + 400] for at in range(0, len(text), 400)]
        connection.sendall(
            POST + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        )
        # Read whole, and refused for what it says.
        assert connection.recv(65536).split()[1] in {b"200", b"422"}


def test_many_headers_are_refused(running: Running) -> None:
    headers = [(f"x-{number}", "") for number in range(2000)]
    answer = httpx.get(f"{running.url}/api/models", headers=headers, trust_env=False)
    assert answer.status_code == 413
    assert "128 headers" in answer.json()["error"]
    assert httpx.get(f"{running.url}/api/models", headers=headers[:60], trust_env=False).status_code == 200


@needs_addresses
def test_one_client_has_half_of_the_live_connections(running: Running) -> None:
    address = running.url.replace("http", "ws") + "/api/live"
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(address, proxy=None))
        with pytest.raises(InvalidStatus) as refused:
            stack.enter_context(connect(address, proxy=None))
        assert refused.value.response.status_code == 429
        other = stack.enter_context(closing(call(running, OTHER)))
        stack.enter_context(connect(address, proxy=None, sock=other))
        with httpx.Client(transport=httpx.HTTPTransport(local_address=OTHER), base_url=running.url) as client:
            answer = client.post("/generate/stream", json={**BODY, "max_new_tokens": 2}, timeout=60)
            assert answer.status_code == 200
