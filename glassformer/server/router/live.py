"""The live WebSocket: a page subscribes to addresses and receives one binary frame for each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from glassformer.errors import BadValue, GlassformerError, error_body
from glassformer.protocol.messages import Subscribe
from glassformer.server.backlog import Backlog
from glassformer.server.error_answer import describe_validation
from glassformer.server.router.traces import find_feed
from glassformer.server.services import Services, find_services

router = APIRouter()
log = structlog.get_logger(__name__)

SUBPROTOCOL = "glassformer"
# Why a socket is closed where the server ends: who comes back soon may meet the next one.
SERVICE_RESTART = 1012
MOST_ADDRESSES = 512
# A subscription to every site of a deep model; anything longer is not honest.
LONGEST_MESSAGE = 64 * 1024


@router.websocket("/api/live")
async def live(socket: WebSocket) -> None:
    services = find_services(socket)
    with services.connection():
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        page = LivePage(services, socket)
        tasks = [
            asyncio.ensure_future(work) for work in (page.listen(), page.send(), services.closing.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            page.unsubscribe()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[2] in done:
            await close_quietly(socket)


async def close_quietly(socket: WebSocket) -> None:
    try:
        await socket.close(SERVICE_RESTART)
    except (WebSocketDisconnect, RuntimeError):
        log.debug("a page left first")


class LivePage:
    """One page's subscriptions, one for each recording, and the frames on their way to it.

    A page that reads slower than the model writes loses the oldest frames first; the store has the rows.
    """

    def __init__(self, services: Services, socket: WebSocket) -> None:
        self.services = services
        self.socket = socket
        self.frames = Backlog()
        self.subscriptions: dict[str, Callable[[], None]] = {}
        self.loop = asyncio.get_running_loop()

    async def listen(self) -> None:
        """Take subscriptions until the page leaves; a wrong one is answered with an error, and the next is read."""
        try:
            while True:
                text = await self.socket.receive_text()
                try:
                    await self.subscribe(text)
                except ValidationError as error:
                    self.frames.put(dump(describe_validation(error.errors())))
                except GlassformerError as error:
                    self.frames.put(dump(error_body(error)))
        except (WebSocketDisconnect, KeyError):  # KeyError: a binary message, which no page of ours sends
            return

    async def subscribe(self, text: str) -> None:
        """Replace the page's subscription for a recording. Raises ValidationError, BadValue or UnknownTrace."""
        if len(text) > LONGEST_MESSAGE:
            raise BadValue("The message is too long.")
        message = Subscribe.model_validate_json(text)
        if len(message.addresses) > MOST_ADDRESSES:
            raise BadValue(f"At most {MOST_ADDRESSES} addresses at a time.", field="addresses")
        feed = find_feed(self.services, message.trace_id)
        renewed = None
        if message.addresses:
            # What has not been checked is checked first, which takes as long as a block's forward.
            await self.services.ask(feed.run, feed.check_sites, message.addresses)
            feed = find_feed(self.services, message.trace_id)  # it may have been deleted meanwhile
            renewed = feed.subscribe(
                message.addresses, self.take, on_leave=lambda: self.drop(message.trace_id)
            )
        self.drop(message.trace_id)
        if renewed is not None:
            self.subscriptions[message.trace_id] = renewed

    def take(self, frame: bytes) -> None:
        """Called from the model's thread."""
        try:
            self.loop.call_soon_threadsafe(self.frames.put, frame)
        except RuntimeError:
            self.unsubscribe()

    async def send(self) -> None:
        try:
            while True:
                frame = await self.frames.get()
                if isinstance(frame, bytes):
                    await self.socket.send_bytes(frame)
                else:
                    await self.socket.send_text(frame)
        except (WebSocketDisconnect, RuntimeError):
            return

    def drop(self, trace_id: str) -> None:
        """End the subscription for a recording, if there is one."""
        end = self.subscriptions.pop(trace_id, None)
        if end is not None:
            end()

    def unsubscribe(self) -> None:
        for trace_id in list(self.subscriptions):
            self.drop(trace_id)


def dump(body: dict[str, str]) -> str:
    import json

    return json.dumps(body)
