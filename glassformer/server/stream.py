"""Answers that are streams of events, and noticing that the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from glassformer.errors import GlassformerError, Stopping, error_body
from glassformer.server.framing import PING, json_event
from glassformer.server.services import Services

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Proxies must pass each event on at once, and no cache may keep a stream.
STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def error_event(error: Exception) -> str:
    return json_event(error_body(error), name="error")


class EventStream(StreamingResponse):
    """`text/event-stream` from an iterator of finished events.

    Quiet for a while, it sends a comment; a fault becomes the event that `tell` makes of it, by default one named
    `error`; when the server stops, it ends.
    `stack` holds what the stream needs and is closed with it, even where the client left before its first event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        services: Services,
        events: AsyncIterator[str],
        stack: AsyncExitStack,
        *,
        tell: Callable[[Exception], str] = error_event,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(guard(services, events, tell), headers={**STREAM_HEADERS, **(headers or {})})
        self.stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.stack:
            await super().__call__(scope, receive, send)


async def guard(
    services: Services, events: AsyncIterator[str], tell: Callable[[Exception], str]
) -> AsyncIterator[str]:
    """`events` with keep-alive comments, ending with what `tell` says where it fails."""
    closing: asyncio.Task[Any] = asyncio.create_task(services.closing.wait())
    following: asyncio.Task[str] | None = None
    try:
        while True:
            following = following or asyncio.create_task(follow(events))
            done, _ = await asyncio.wait(
                {following, closing}, timeout=services.settings.ping_secs, return_when=asyncio.FIRST_COMPLETED
            )
            if following in done:
                try:
                    text = following.result()
                except StopAsyncIteration:
                    return
                following = None
                yield text
            elif closing in done:
                raise Stopping
            else:
                yield PING
    except Exception as error:
        if not isinstance(error, GlassformerError):
            log.exception("a stream failed")
        yield tell(error)
    finally:
        closing.cancel()
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        aclose = getattr(events, "aclose", None)
        if aclose is not None:
            await aclose()


async def follow(items: AsyncIterator[T]) -> T:
    return await anext(items)


class ClientLeft(Exception):
    """The client went away before its answer was ready; nobody reads what is answered."""


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client leaves. Raises ClientLeft then."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(wait_for_leaving(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        leaving.cancel()
        task.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def wait_for_leaving(request: Request) -> None:
    """Returns when the client's connection is closed. The request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
