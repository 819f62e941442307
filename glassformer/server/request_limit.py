"""How much a client may ask: sizes of headers and bodies, requests in a while, time. Pure ASGI."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassformer.errors import DeadlinePassed, Stopping, TooLarge
from glassformer.server.closing import Closing
from glassformer.server.error_answer import refusal
from glassformer.server.rate import Rate, charge, find_client
from glassformer.server.security import is_public
from glassformer.settings import Settings

# A body of up to so many times its limit is read to its end, and forgotten, before it is refused.
DRAINED = 4
# Reading JSON takes time for each value, most for lists and tables, and nobody else is served meanwhile.
MOST_CONTAINERS = 20_000
MOST_VALUES = 400_000
MOST_NAMES = 60_000
# A browser sends about 20, and each proxy some of its own.
MOST_HEADERS = 128
# Where the Zarr stores are; a model's id may contain slashes.
TILE = re.compile(r"/api/(traces/[^/]+|models/(?P<model_id>.+))/zarr/.*", re.DOTALL)


class SizeLimit:
    """Reads a request's body as a whole, up to a limit and in a limited time, before the app sees it.

    So a chunked body without end, a false Content-Length and a large one are all refused alike, and what the app
    receives after the body is only the client's leaving.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self.settings.max_header_bytes:
            raise TooLarge(f"The request's headers are larger than {self.settings.max_header_bytes} bytes.")
        if len(scope["headers"]) > MOST_HEADERS:
            raise TooLarge(f"The request has more than {MOST_HEADERS} headers.")
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > DRAINED * self.settings.max_body_bytes:
            raise self.too_large()
        try:
            async with asyncio.timeout(self.settings.body_timeout_secs):
                body, has_left = await self.read(receive)
        except TimeoutError:
            headers = {"Connection": "close"}
            answer = refusal(scope["path"], "The body did not arrive in time.", 408, headers=headers)
            await answer(scope, receive, send)
            return
        if has_left:
            return
        check_structure(body)
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self.app(scope, replay, send)

    async def read(self, receive: Receive) -> tuple[bytes, bool]:
        """The whole body, and whether the client left before its end. Raises TooLarge.

        Many clients read an answer only after they have sent everything, so some of what is too much is read too.
        """
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"", True
            chunk = message.get("body", b"")
            size += len(chunk)
            has_end = not message.get("more_body", False)
            if size > self.settings.max_body_bytes:
                chunks.clear()
                if has_end or size > DRAINED * self.settings.max_body_bytes:
                    raise self.too_large()
            else:
                chunks.append(chunk)
            if has_end:
                return b"".join(chunks), False

    def too_large(self) -> TooLarge:
        return TooLarge(f"The request's body is larger than {self.settings.max_body_bytes} bytes.")


def check_structure(body: bytes) -> None:
    """Raise TooLarge for JSON of more values than are read at once. What stands in strings is no value."""
    if is_simple(body):
        return
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if not is_simple(b"".join(plain.split(b'"')[::2])):
        raise TooLarge(
            f"The request's body holds more than {MOST_CONTAINERS} lists and objects, {MOST_NAMES} names or "
            f"{MOST_VALUES} values."
        )


def is_simple(text: bytes) -> bool:
    containers = text.count(b"[") + text.count(b"{")
    return containers <= MOST_CONTAINERS and text.count(b":") <= MOST_NAMES and text.count(b",") < MOST_VALUES


class RateLimit:
    """Counts each client's requests: cells that are at hand for themselves, the page's files not at all.

    `is_loaded` says whether a model is in memory: one that is not has to be loaded, or asked for at the hub, for its
    cells, which no client may have done as often as it reads cells.
    """

    def __init__(self, app: ASGIApp, settings: Settings, is_loaded: Callable[[str], bool]) -> None:
        self.app = app
        self.is_loaded = is_loaded
        self.requests = Rate(settings.rate_limit)
        self.tiles = Rate(settings.tile_rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and not is_public(scope["path"]):
            charge(self.tiles if self.is_tile(scope) else self.requests, find_client(scope))
        await self.app(scope, receive, send)

    def is_tile(self, scope: Scope) -> bool:
        found = TILE.fullmatch(scope["path"])
        if found is None or scope.get("method") not in {"GET", "HEAD"}:
            return False
        return found["model_id"] is None or self.is_loaded(found["model_id"])


class Deadline:
    """Ends a request that has not begun to answer in time, or soon after the server is told to stop.

    Streams keep their own deadline, and end themselves when the server stops.
    """

    def __init__(self, app: ASGIApp, settings: Settings, closing: Closing) -> None:
        self.app = app
        self.timeout_secs = settings.request_timeout_secs
        # Before the connections are cut, which is when the time for stopping is over.
        self.last_secs = settings.shutdown_timeout_secs / 2
        self.closing = closing
        self.waiting: set[asyncio.Timeout] = set()
        closing.then(self.hurry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.closing.is_set():
            raise Stopping
        async with asyncio.timeout(self.timeout_secs) as deadline:
            self.waiting.add(deadline)
            try:

                async def send_and_note(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        self.waiting.discard(deadline)
                        deadline.reschedule(None)
                    await send(message)

                await self.app(scope, receive, send_and_note)
            except asyncio.CancelledError:
                if deadline.expired():
                    if self.closing.is_set():
                        raise Stopping from None
                    raise DeadlinePassed("The answer took longer than this server allows.") from None
                raise
            finally:
                self.waiting.discard(deadline)

    def hurry(self) -> None:
        """The server stops: whoever still waits is told so while there is time."""
        for deadline in self.waiting:
            until_secs = asyncio.get_running_loop().time() + self.last_secs
            deadline.reschedule(min(until_secs, deadline.when() or until_secs))
