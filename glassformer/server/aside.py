"""Threads that end with what they were started for.

A thread that has computed keeps its own workers of OpenMP. Once there are more of them than cores, none waits actively
any more, and each of the engine's products begins with waking somebody up: a third more time for every step
(bench/results/engine.md). A thread that ends takes its workers along.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter

from glassformer import waiting

T = TypeVar("T")


async def run_aside(call: Callable[[], T], limiter: CapacityLimiter) -> T:
    """What `call` gives, run in a thread of its own; a place in `limiter` is taken until it ends, even if cancelled.

    Once cancelled, the thread ends at its next `waiting.go_on`.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    place, context, left = object(), copy_context(), threading.Event()
    context.run(waiting.left.set, left)
    await limiter.acquire_on_behalf_of(place)

    def settle(give: Callable[[], None]) -> None:
        limiter.release_on_behalf_of(place)
        if not answer.done():
            give()

    def work() -> None:
        try:
            found = context.run(call)
        except StopIteration:  # which no future takes
            tell(partial(answer.set_exception, RuntimeError("an iterator was empty")))
        except BaseException as exc:
            tell(partial(answer.set_exception, exc))
        else:
            tell(partial(answer.set_result, found))

    def tell(give: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the server has stopped meanwhile
            loop.call_soon_threadsafe(settle, give)

    try:
        threading.Thread(target=work, name="aside").start()
    except RuntimeError:  # the system has none left
        limiter.release_on_behalf_of(place)
        raise
    try:
        return await answer
    finally:
        left.set()
