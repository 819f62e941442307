"""A server that does not stand at the root of its host: a proxy puts something before each path. Pure ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Takes the prefix off, where the proxy has left it on: everything behind knows its own paths alone."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = self.prefix
        if prefix and scope["type"] in {"http", "websocket"} and f"{scope['path']}/".startswith(f"{prefix}/"):
            raw = scope.get("raw_path") or b""
            scope = {
                **scope,
                "path": scope["path"][len(prefix) :] or "/",
                "raw_path": raw.removeprefix(prefix.encode()) or b"/",
            }
        await self.app(scope, receive, send)
