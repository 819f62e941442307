"""Starting and stopping: what must be right before a port is taken, and uvicorn with streams that end themselves."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from glassformer.errors import CacheNotWritable, PortInUse, StartError, UnsafeHost
from glassformer.settings import Settings, check_model_dirs

# The longest message a page sends over the live WebSocket is a list of addresses.
LARGEST_SOCKET_MESSAGE_BYTES = 256 * 1024
BACKLOG = 2048


def check_start(settings: Settings) -> None:
    """Everything but the port. Raises UnsafeHost, CacheNotWritable or StartError."""
    if not settings.is_loopback and not settings.api_keys and not settings.insecure:
        raise UnsafeHost(
            f"Listening on {settings.host} lets other machines in: set API keys (--api-key), or say --insecure.",
            field="host",
        )
    if "*" in settings.cors_origins and not settings.is_loopback and not settings.api_keys:
        raise UnsafeHost("Any origin (--cors-origin '*') and no API keys would let any web page in.")
    check_model_dirs(settings)
    if not settings.offline:
        check_cache(settings.hub_cache or find_cache())


def find_cache() -> Path:
    """The model hub's cache, by the hub library's own rules, without importing it."""
    home = os.environ.get("HF_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or str(Path(home) / "hub")).expanduser()


def check_cache(folder: Path) -> None:
    """Raise CacheNotWritable where nothing can be written. Leaves no file behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise CacheNotWritable(
            f"The model cache {folder} cannot be written; set HF_HOME to a folder that can, or say --offline.",
            field="HF_HOME",
        ) from exc


def take_port(settings: Settings) -> socket.socket:
    """A listening socket. Raises PortInUse or StartError."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as exc:
        raise StartError(f"There is no address {settings.host!r} to listen on.", field="host") from exc
    # A name may stand for several addresses, and a browser takes any of them: no other program may be behind one.
    for other in found[1:]:
        try:
            open_listener(other, settings).close()
        except PortInUse:
            raise
        except StartError:  # one of a kind that this machine does not have
            continue
    return open_listener(found[0], settings)


def open_listener(place: tuple[Any, ...], settings: Settings) -> socket.socket:
    """A listening socket at one of the places that `getaddrinfo` found. Raises PortInUse or StartError."""
    family, kind, protocol, _, address = place
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise StartError(f"{settings.host} is not an address of this machine.", field="host") from exc
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise PortInUse(settings.port) from exc
        if exc.errno in {errno.EACCES, errno.EPERM}:
            raise StartError(f"Port {settings.port} may not be used by this user.", field="port") from exc
        raise StartError(f"{settings.host} is not an address of this machine.", field="host") from exc
    return listener


def page_address(settings: Settings, listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    port = listener.getsockname()[1]
    host = settings.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104  # compared, not listened on
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/llm" if ":" in host else f"http://{host}:{port}/llm"


class Server(uvicorn.Server):
    """uvicorn that says when it answers, and that ends open streams itself when it stops."""

    def __init__(
        self, config: uvicorn.Config, *, on_ready: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.on_ready = on_ready
        self.on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.on_stop()
        await super().shutdown(sockets)


def build_server(settings: Settings, *, on_ready: Callable[[], None] = lambda: None) -> Server:
    """The app in a server that `run(sockets=[...])` or `serve(sockets=[...])` starts."""
    from glassformer.server.app import create_app
    from glassformer.server.connection import GuardedProtocol

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=partial(GuardedProtocol, settings=settings),  # type: ignore[arg-type]
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout_secs)),
        ws_max_size=LARGEST_SOCKET_MESSAGE_BYTES,
    )
    return Server(config, on_ready=on_ready, on_stop=app.state.services.close)
