"""Connections: how many, how long until a request has begun, how small its pieces may be.

What a client can do before there is a request, which no middleware sees: uvicorn waits for the end of a head for ever,
keeps any number of silent connections, and reads a body in pieces of a byte while nobody else is served.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from glassformer.settings import Settings

# So many pieces of a body may be of any size, and the others have so many bytes on average.
FREE_PIECES, SMALL_BYTES = 1000, 256
# What is read at a time: of pieces as small as can be, a few milliseconds' worth.
SLICE_BYTES = 4096
# The share of all connections that one address may have: others still come in.
SHARE = 0.5
TOO_SMALL = "The request's body comes in too many small pieces."


class CountingConnection(h11.Connection):
    """Counts the pieces of a body."""

    def __init__(self, most_head_bytes: int) -> None:
        super().__init__(h11.SERVER, most_head_bytes)
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        """Raises h11.RemoteProtocolError where a body comes in too many small pieces."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self.is_too_small:
                raise h11.RemoteProtocolError(TOO_SMALL)
        return event

    @property
    def is_too_small(self) -> bool:
        return self._bytes < SMALL_BYTES * (self._pieces - FREE_PIECES)


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 of a connection that is refused, or ended, where its client takes more than its share."""

    def __init__(self, *given: Any, settings: Settings, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn: CountingConnection = CountingConnection(2 * settings.max_header_bytes)
        self.settings = settings
        self._rest = b""
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        most = self.settings.max_connections
        if len(self.connections) > most:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.", retry_after_secs=10)
        elif not is_trusted(address, self.settings.trusted_proxies) and self.count(address) > most * SHARE:
            self.refuse(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many connections are open from there.", retry_after_secs=10
            )
        else:
            self.await_head()

    def count(self, address: str) -> int:
        """Connections from an address, WebSockets included."""
        clients = (getattr(each, "client", None) for each in self.connections)
        return sum(client is not None and client[0] == address for client in clients)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest = b""
        self.forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes a body that comes in pieces slice by slice, so that others are served between two of them."""
        if self._rest:
            self._rest += data
            self.transport.pause_reading()
            return
        self.take(data)

    def take(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data[:SLICE_BYTES])
        self._rest = data[SLICE_BYTES:]
        if self._rest:
            self.transport.pause_reading()
            self.loop.call_soon(self.take_rest)
        elif not self.flow.read_paused:
            self.transport.resume_reading()
        if self.transport.get_protocol() is self and self.conn.their_state is h11.IDLE:
            self.await_head()
        else:
            self.forget_head()

    def take_rest(self) -> None:
        rest, self._rest = self._rest, b""
        if self.transport.get_protocol() is self:
            self.take(rest)
        elif not self.transport.is_closing():
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]
            self.transport.resume_reading()

    def await_head(self) -> None:
        """Give the client so long for the head of its next request, from its first byte on."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.settings.head_timeout_secs, self.end_head)

    def forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def end_head(self) -> None:
        self._head_timer = None
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")

    def send_400_response(self, msg: str) -> None:
        self.refuse(HTTPStatus.BAD_REQUEST, TOO_SMALL if self.conn.is_too_small else msg)

    def refuse(self, status: HTTPStatus, message: str, *, retry_after_secs: int | None = None) -> None:
        """Answer in one sentence and hang up."""
        if self.transport.is_closing():
            return
        body = json.dumps({"error": message, "field": None}).encode()
        head = [f"HTTP/1.1 {status.value} {status.phrase}", "content-type: application/json"]
        head += [f"content-length: {len(body)}", "connection: close"]
        if retry_after_secs is not None:
            head.append(f"retry-after: {retry_after_secs}")
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def is_trusted(address: str, proxies: Collection[str]) -> bool:
    """Whether a connection comes from a proxy that stands for many clients."""
    if "*" in proxies or address in proxies:
        return True
    networks: list[IPv4Network | IPv6Network] = []
    for proxy in proxies:
        with suppress(ValueError):
            networks.append(ip_network(proxy, strict=False))
    with suppress(ValueError):
        return any(ip_address(address) in network for network in networks)
    return False
