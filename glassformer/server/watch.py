"""Around every request: faults become answers, and each request is counted, timed and logged."""

from __future__ import annotations

import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glassformer.errors import GlassformerError
from glassformer.server.error_answer import error_response
from glassformer.server.metrics import Metrics

log = structlog.get_logger(__name__)


class Watch:
    """Turns whatever is raised below into an answer, so that browsers can read it (CORS is added outside)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.watch_socket(scope, receive, send)
        elif scope["type"] == "http":
            await self.watch_request(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def watch_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = 0
        # In the log, and in the answer for who reports what went wrong.
        request_id = uuid.uuid4().hex[:12]

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", []), *COMMON_HEADERS, own]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self.app(scope, receive, send_and_note)
            except Exception as error:
                if status:
                    # Too late for another answer: the connection ends without the stream's proper end.
                    log.exception("a stream broke off")
                    raise
                await error_response(error, scope["path"])(scope, receive, send_and_note)
            finally:
                secs = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self.metrics.requests.labels(method, route, str(status)).inc()
                self.metrics.request_secs.labels(route).observe(secs)
                log.debug("request", method=scope["method"], route=route, status=status, secs=round(secs, 4))

    async def watch_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except GlassformerError as error:
            # A close before the acceptance is a refused handshake (HTTP 403).
            await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})


# A client may invent more; each would be a series of its own for as long as the server runs.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
