"""From the engine's thread to the event loop: a generation as an async iterator that ends when its reader leaves.

Imports torch; import it only where a model has been loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TypeVar

from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence, Watcher, check_prompt
from glassformer.engine.session import Session
from glassformer.errors import BadValue, DeadlinePassed, Stopping, TooLong
from glassformer.loading.loaded import LoadedModel
from glassformer.server.services import Services

T = TypeVar("T")


def check_request(
    services: Services, loaded: LoadedModel, token_ids: Sequence[int], *, field: str = "prompt"
) -> None:
    """Refuse a prompt past the context or past the server's own limit. Raises TooLong."""
    check_prompt(loaded, token_ids, field=field)
    most = services.settings.max_prompt_tokens
    if len(token_ids) > most:
        raise TooLong(
            f"The prompt has {len(token_ids)} tokens; this server takes at most {most}.", field=field
        )


def check_count(services: Services, max_new_tokens: int) -> None:
    most = services.settings.max_new_tokens
    if max_new_tokens > most:
        raise BadValue(f"max_new_tokens is at most {most} here.", field="max_new_tokens")


@asynccontextmanager
async def generate(
    services: Services,
    loaded: LoadedModel,
    request: GenerationRequest,
    *,
    watcher: Watcher | None = None,
) -> AsyncIterator[AsyncIterator[DecodedToken]]:
    """Queue a generation; leaving the block ends it within one step. A `watcher` sees each of its forwards.

    Raises TooMany, TooLong, InUse and Stopping on entry, before anything is answered; the iterator raises
    DeadlinePassed and what the engine raises.
    """
    check_request(services, loaded, request.token_ids)
    sequence = await services.quick(TokenSequence, loaded, request, watcher=watcher)
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[DecodedToken | BaseException | None] = asyncio.Queue()
    lease = ExitStack()
    lease.enter_context(services.registry.use(loaded))

    def pass_on(item: DecodedToken | BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(found.put_nowait, item)
        except RuntimeError:  # the loop has been closed: nobody reads any more
            session.cancel()

    def end(error: BaseException | None) -> None:
        lease.close()
        pass_on(error)

    try:
        session = Session(sequence, on_step=pass_on, on_end=end)
        services.engine(loaded).submit(session)
    except BaseException:
        lease.close()
        raise
    services.metrics.tokens.labels("prompt").inc(len(request.token_ids))

    async def read() -> AsyncIterator[DecodedToken]:
        deadline_secs = loop.time() + services.settings.request_timeout_secs
        while (item := await take(found, deadline_secs - loop.time())) is not None:
            if isinstance(item, BaseException):
                raise item
            services.metrics.tokens.labels("generated").inc()
            yield item
        if sequence.cancelled.is_set():
            raise Stopping

    try:
        yield read()
    finally:
        session.cancel()


async def take(found: asyncio.Queue[T], secs: float) -> T:
    """The next item within `secs`. Raises DeadlinePassed, also where an item is waiting but the time is over."""
    if secs > 0:
        # Not wait_for: in Python 3.11 it swallows a cancellation that meets an item, and the client's leaving with it.
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                return await found.get()
    raise DeadlinePassed("The generation took longer than this server allows.")
