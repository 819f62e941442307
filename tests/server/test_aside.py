"""Threads for reading cells: what they give, and that nothing of them stays."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest
import torch
from anyio import CapacityLimiter

from glassformer import waiting
from glassformer.errors import NobodyWaits
from glassformer.server.aside import run_aside

TASKS = Path("/proc/self/task")


def test_it_gives_what_the_call_gives_or_raises() -> None:
    async def ask() -> int:
        limiter = CapacityLimiter(1)
        with pytest.raises(KeyError, match="gone"):
            await run_aside(lambda: {}["gone"], limiter)
        with pytest.raises(RuntimeError, match="iterator"):
            await run_aside(lambda: next(iter([])), limiter)
        assert limiter.borrowed_tokens == 0
        return await run_aside(lambda: 42, limiter)

    assert asyncio.run(ask()) == 42


def test_what_is_logged_inside_belongs_to_the_request() -> None:
    request: ContextVar[str] = ContextVar("request")

    async def ask() -> str:
        request.set("abc")
        return await run_aside(request.get, CapacityLimiter(1))

    assert asyncio.run(ask()) == "abc"


def test_a_place_is_taken_until_the_thread_ends_even_when_nobody_waits() -> None:
    async def ask() -> None:
        limiter, go_on = CapacityLimiter(1), threading.Event()
        left = asyncio.create_task(run_aside(go_on.wait, limiter))
        while not limiter.borrowed_tokens:
            await asyncio.sleep(0.01)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        following = asyncio.create_task(run_aside(lambda: "next", limiter))
        await asyncio.sleep(0.05)
        assert not following.done()
        go_on.set()
        assert await following == "next"

    asyncio.run(ask())


def test_what_is_computed_in_steps_ends_once_nobody_waits() -> None:
    steps: list[int] = []
    ended = threading.Event()

    def compute() -> None:
        try:
            while True:
                waiting.go_on()
                steps.append(len(steps))
                time.sleep(0.005)
        except NobodyWaits:
            ended.set()
            raise

    async def ask() -> None:
        limiter = CapacityLimiter(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run_aside(compute, limiter)
        assert await run_aside(lambda: "next", limiter) == "next"

    waiting.go_on()  # where nothing says who waits, work goes on
    asyncio.run(asyncio.wait_for(ask(), 30))
    assert steps
    assert ended.is_set()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """However many the tests before have left: with one, a library has no workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not TASKS.exists(), reason="needs Linux to see the threads of a library")
@pytest.mark.usefixtures("two_threads")
def test_the_workers_of_a_library_end_as_well() -> None:
    def compute() -> set[str]:
        square = torch.ones(512, 512)
        assert float((square @ square)[0, 0]) == 512
        return list_threads()

    def list_threads() -> set[str]:
        return {task.name for task in TASKS.iterdir()}

    async def ask() -> list[set[str]]:
        return [await run_aside(compute, CapacityLimiter(8)) for _ in range(6)]

    torch.ones(512, 512) @ torch.ones(512, 512)
    before = list_threads()
    started = set().union(*asyncio.run(ask())) - before
    # One for each call, and what it has beside itself.
    assert len(started) >= 12
    deadline = time.monotonic() + 5
    while started & list_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not started & list_threads()
