"""The real page on a recording of this process: the server's own app in a thread, on a free port of this machine.

One server for all handles. It is given the models and recordings that are there; nothing is loaded or run twice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from glassformer.errors import StartError
from glassformer.notebook.place import Place, find_place
from glassformer.notebook.session import SESSION

if TYPE_CHECKING:
    from glassformer.run.run import Run
    from glassformer.server.services import Services

T = TypeVar("T")

START_SECS = 30.0


class PageServer:
    """The app in a thread of its own, for as long as the process lives."""

    def __init__(self, model_id: str) -> None:
        from glassformer.server.startup import build_server, take_port

        keep_quiet()
        # The page opens with the recording's model, which is there already: nothing is loaded at the start. Only this
        # machine reaches it, whatever the environment says of a server.
        settings = SESSION.settings.model_copy(
            update={
                "host": "127.0.0.1",
                "port": 0,
                "default_model": model_id,
                "pinned_models": [],
                "api_keys": [],
                "rate_limit": "",
                "tile_rate_limit": "",
            }
        )
        self._listener = take_port(settings)
        self.place = find_place(settings, self._listener.getsockname()[1])
        if self.place.host is not None:
            # Whoever comes by the proxy was let in there.
            settings = settings.model_copy(update={"allowed_hosts": [self.place.host]})
        self._answers = threading.Event()
        self._server = build_server(settings, on_ready=self._answers.set)
        app: Any = self._server.config.app
        self.services: Services = app.state.services
        # One owner: what the page looks at and what it records lies beside the handles' own.
        self.services.use_store(SESSION.store)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the server's thread, which starts here."""
        found: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            found.append(asyncio.get_running_loop())
            await self._server.serve(sockets=[self._listener])

        threading.Thread(target=lambda: asyncio.run(serve()), name="glassformer page", daemon=True).start()
        if not self._answers.wait(START_SECS):
            raise StartError("The page's server did not start.")
        return found[0]

    def call(self, function: Callable[[], T]) -> T:
        """Call something on the server's loop, where its state may be changed."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_SECS)

    def add(self, live: Run) -> None:
        """Have the page's server tell of a recording."""
        services, loaded = self.services, live.loaded
        for one in (loaded, loaded.base):
            if one is not None:
                services.registry.adopt(SESSION.source_of(one), one)

        def replay() -> None:
            if live.id not in services.feeds:
                SESSION.keep_shown(live)
                services.open_feed(live).replay()

        self.call(replay)


def keep_quiet() -> None:
    """Have the server say nothing below a warning: what it prints would land in the notebook."""
    from glassformer.server.log import configure_unless_done

    configure_unless_done(logging.WARNING)


_server: PageServer | None = None
_starting = threading.Lock()


def serve_page(live: Run) -> Place:
    """Where the page on a recording is reached; the first call starts the server. Raises StartError."""
    global _server  # noqa: PLW0603  # one for the process
    with _starting:
        if _server is None:
            started = PageServer(live.loaded.model_id)
            started.services.registry.adopt(SESSION.source_of(live.loaded), live.loaded)
            _server = started
        _server.add(live)
        return _server.place
