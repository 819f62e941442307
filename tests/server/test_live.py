"""The live WebSocket: a frame for each step, errors that do not end it, slow and leaving pages."""

import asyncio
import gc
import json
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import Running, read_events, serving
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from glassformer.protocol.frames import decode_frame
from glassformer.server.backlog import MOST_FRAMES, Backlog
from glassformer.server.router.live import LivePage
from glassformer.server.services import Services
from glassformer.settings import Settings

ADDRESSES = ["resid_pre.1", "attn_probs.0", "lm_head"]


@pytest.fixture
def socket(running: Running) -> Iterator[ClientConnection]:
    with connect(running.url.replace("http", "ws") + "/api/live", proxy=None, max_size=None) as found:
        yield found


def start(client: httpx.Client, count: int) -> str:
    body = {
        "model_id": "llama",
        "prompt": "the quick",
        "max_new_tokens": count,
        "sampling": {"temperature": 0},
    }
    return str(client.post("/api/traces", json=body).json()["id"])


def subscribe(socket: ClientConnection, trace_id: str, addresses: list[str]) -> None:
    socket.send(json.dumps({"type": "subscribe", "trace_id": trace_id, "addresses": addresses}))


def read_until_quiet(socket: ClientConnection) -> None:
    for _ in range(2000):
        socket.recv(0.5)


def test_frames_hold_what_the_store_holds(client: httpx.Client, socket: ClientConnection) -> None:
    trace_id = start(client, 400)
    subscribe(socket, trace_id, ADDRESSES)
    frames = [decode_frame(socket.recv(10)) for _ in range(4)]  # type: ignore[arg-type]
    client.post(f"/api/traces/{trace_id}/stop")
    client.get(f"/api/traces/{trace_id}/events")
    # The first one may hold the whole prompt.
    for header, rows in frames[1:]:
        assert header.trace_id == trace_id
        assert header.stop == header.start + 1
        assert list(rows) == ADDRESSES
        assert rows["attn_probs.0"].shape == (4, 1, header.stop)
        chunk, row = divmod(header.start, 64)
        cells = np.frombuffer(
            client.get(f"/api/traces/{trace_id}/zarr/resid_pre.1/0/c/{chunk}/0").content, "<f4"
        ).reshape(64, -1)
        np.testing.assert_array_equal(rows["resid_pre.1"][0], cells[row, :32])
    assert [header.start for header, _ in frames[1:]] == [frames[0][0].stop + i for i in range(3)]


def test_mistakes_are_answered_and_the_socket_lives_on(
    client: httpx.Client, socket: ClientConnection
) -> None:
    trace_id = start(client, 2000)
    for text in ("{", "[]", '{"type": "subscribe"}', '{"type": "other", "trace_id": "x", "addresses": []}'):
        socket.send(text)
        assert "error" in json.loads(socket.recv(5))
    subscribe(socket, "unknown", [])
    assert "error" in json.loads(socket.recv(5))
    subscribe(socket, trace_id, ["nothing.9"])
    assert json.loads(socket.recv(5))["field"] == "address"
    subscribe(socket, trace_id, ["resid_pre.0"] * 600)
    assert json.loads(socket.recv(5))["field"] == "addresses"
    subscribe(socket, trace_id, ["resid_pre.0"])
    assert isinstance(socket.recv(10), bytes)
    client.delete(f"/api/traces/{trace_id}")


def test_a_page_that_leaves_is_forgotten(
    running: Running, client: httpx.Client, socket: ClientConnection
) -> None:
    trace_id = start(client, 2000)
    subscribe(socket, trace_id, ADDRESSES)
    assert isinstance(socket.recv(10), bytes)
    socket.close()
    recording = running.services.store.get(trace_id).recording
    for _ in range(200):
        if not recording._subscriptions:
            break
        time.sleep(0.01)
    assert not recording._subscriptions
    client.post(f"/api/traces/{trace_id}/stop")
    assert read_events(client.get(f"/api/traces/{trace_id}/events").text)[-1][0] == "state"


def test_an_empty_subscription_ends_it(client: httpx.Client, socket: ClientConnection) -> None:
    trace_id = start(client, 2000)
    subscribe(socket, trace_id, ["resid_pre.0"])
    assert isinstance(socket.recv(10), bytes)
    subscribe(socket, trace_id, [])
    with pytest.raises(TimeoutError):
        read_until_quiet(socket)
    client.delete(f"/api/traces/{trace_id}")


def test_a_page_that_sends_rubbish_and_reads_nothing_fills_no_memory() -> None:
    async def listen() -> LivePage:
        messages: list[dict[str, Any]] = [{"type": "websocket.receive", "text": "{"}] * 1000

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else {"type": "websocket.disconnect", "code": 1001}

        async def send(_: Any) -> None:
            await asyncio.sleep(3600)

        socket = WebSocket({"type": "websocket", "path": "/api/live", "headers": []}, receive, send)
        socket.client_state = socket.application_state = socket.client_state.CONNECTED
        page = LivePage(Services(Settings(offline=True)), socket)
        await page.listen()
        return page

    assert len(asyncio.run(listen()).frames) == MOST_FRAMES


def test_a_page_that_reads_nothing_keeps_few_bytes_of_what_is_written() -> None:
    async def write() -> None:
        backlog = Backlog(most_frames=50, most_bytes=1000)
        for number in range(40):
            backlog.put(bytes([number]) * 90)
        assert (len(backlog), backlog.nbytes) == (11, 990)
        # The newest is taken, whatever its size, and nothing else then.
        backlog.put(b"x" * 5000)
        assert (len(backlog), backlog.nbytes) == (1, 5000)
        backlog.put("later")
        assert [await backlog.get() for _ in range(1)] == ["later"]
        assert (len(backlog), backlog.nbytes) == (0, 0)
        waiting = asyncio.create_task(backlog.get())
        await asyncio.sleep(0)
        backlog.put(b"new")
        assert await asyncio.wait_for(waiting, 10) == b"new"

    asyncio.run(write())


def test_a_deleted_recording_is_held_by_no_page(model_dir: Path) -> None:
    with serving(model_dir) as running, running.client() as client:
        trace_id = start(client, 3)
        client.get(f"/api/traces/{trace_id}/events")
        held = weakref.ref(running.services.store.get(trace_id).recording)
        address = running.url.replace("http", "ws") + "/api/live"
        with connect(address, proxy=None) as socket:
            subscribe(socket, trace_id, ADDRESSES)
            subscribe(socket, trace_id, ["nothing.9"])
            assert "error" in json.loads(socket.recv(5))  # so the subscription before it has been taken
            assert client.delete(f"/api/traces/{trace_id}").status_code == 204
            # The engine's thread still has the last run at hand.
            client.get(f"/api/traces/{start(client, 1)}/events")
            for _ in range(200):
                gc.collect()
                if held() is None:
                    break
                time.sleep(0.01)
            assert held() is None
            # The socket serves the next recording.
            other = start(client, 400)
            subscribe(socket, other, ["resid_pre.0"])
            assert isinstance(socket.recv(10), bytes)
            client.delete(f"/api/traces/{other}")


def test_too_many_pages_are_refused(running: Running) -> None:
    services = running.services
    before, services._connections = services._connections, Counter(others=services.settings.max_sockets)
    try:
        with (
            pytest.raises(InvalidStatus),
            connect(running.url.replace("http", "ws") + "/api/live", proxy=None),
        ):
            pass
    finally:
        services._connections = before
