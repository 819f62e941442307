"""What the routers share: settings, models, recordings, the engine of each model. One for each app.

Imports nothing heavy: torch comes in with the first model, in the thread that loads it, so that the server
answers from its first moment.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import anyio
from anyio import to_thread
from fastapi import Depends
from starlette.requests import HTTPConnection

from glassformer.budget import Budget
from glassformer.engine.client import CLIENT
from glassformer.errors import GlassformerError, Stopping, TooMany, UnknownTrace
from glassformer.importing import import_torch
from glassformer.registry.opening import open_registry
from glassformer.server.aside import run_aside
from glassformer.server.closing import Closing
from glassformer.server.metrics import Metrics
from glassformer.server.response_store import ResponseStore
from glassformer.settings import Settings
from glassformer.shape.shelf import ShapeShelf, Wanted

if TYPE_CHECKING:
    from glassformer.engine.engine import Engine
    from glassformer.loading.loaded import LoadedModel
    from glassformer.protocol.messages import TraceRequest
    from glassformer.protocol.shape import ModelShape
    from glassformer.run.feed import RunFeed
    from glassformer.run.record import Check
    from glassformer.run.run import Run
    from glassformer.run.run_store import RunStore

P = ParamSpec("P")
T = TypeVar("T")

# Threads that wait for a model's lock or for the disk; more would only queue up behind the same lock.
READING_THREADS = 8
# Threads that draw shapes: more would only wait for each other, and a reader must not wait behind them.
DRAWING_THREADS = 1
# Threads for tokenizers and small files, so that they never wait behind heavy readers.
QUICK_THREADS = 16
# How long a server that is told to stop waits for a step.
CLOSING_SECS = 5.0


class Services:
    """Everything with a life time. Used from the event loop's thread unless said otherwise."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.registry = open_registry(settings, on_unload=self.let_model_go, checks_later=True)
        self.shapes = ShapeShelf(self.registry.catalog)
        self.budget = Budget(settings.trace_bytes)
        self.responses = ResponseStore(settings.response_bytes, settings.max_responses)
        self.feeds: dict[str, RunFeed] = {}
        self.closing = Closing()
        self._engines: dict[LoadedModel, Engine] = {}
        self._store: RunStore | None = None
        self._store_lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._reading = anyio.CapacityLimiter(READING_THREADS)
        self._drawing = anyio.CapacityLimiter(DRAWING_THREADS)
        self._quick = anyio.CapacityLimiter(QUICK_THREADS)

    async def load(self, model_id: str) -> LoadedModel:
        """The model, loaded if need be. Raises BadValue, UnknownModel, ModelRefused, ModelFailed or Unavailable."""
        if self.closing.is_set():
            raise Stopping
        future = await self.quick(self.registry.load, model_id)
        return await asyncio.wrap_future(future)

    def engine(self, loaded: LoadedModel) -> Engine:
        """The engine of a loaded model, made at the first use."""
        from glassformer.engine.engine import Engine

        found = self._engines.get(loaded)
        if found is None:
            found = Engine(
                loaded,
                max_running=self.settings.max_running,
                max_waiting=self.settings.max_waiting,
                prefix_bytes=self.settings.prefix_bytes,
                budget=self.budget,
                on_death=lambda error: self.registry.give_up(loaded, error),
                meter=self.metrics,
            )
            self._engines[loaded] = found
            self.metrics.loads.inc()
        return found

    def count_generations(self) -> int:
        return sum(len(engine) for engine in self._engines.values())

    def measure(self) -> None:
        """Bring what is counted up to now."""
        held, engines = self.metrics, list(self._engines.values())
        held.running.set(sum(engine.running for engine in engines))
        held.waiting.set(sum(engine.waiting for engine in engines))
        held.generations.set(self.count_generations())
        held.key_value_bytes.set(sum(engine.key_value_bytes for engine in engines))
        held.models.set(self.registry.count_ready())
        held.recordings.set(len(self.feeds))
        held.recording_bytes.set(sum(feed.run.nbytes for feed in self.feeds.values()))

    @property
    def store(self) -> RunStore:
        """The runs. Imports torch at the first use. Any thread."""
        with self._store_lock:
            if self._store is None:
                from glassformer.run.run_store import RunStore

                self._store = RunStore(self.budget, most_runs=self.settings.max_traces)
                self._store.on_forget.append(self._close_feed)
            return self._store

    def use_store(self, store: RunStore) -> None:
        """Share the runs of somebody else in this process. Before the first run."""
        with self._store_lock:
            self._store, self.budget = store, store.budget
            store.on_forget.append(self._close_feed)

    def open_feed(self, run: Run) -> RunFeed:
        """What is told of a run, kept for as long as its recording. On the event loop's thread."""
        from glassformer.run.feed import RunFeed

        feed = self.feeds[run.id] = RunFeed(
            run,
            in_thread=self.quick,
            patience_secs=self.settings.request_timeout_secs,
            on_token=self.metrics.tokens.labels("generated").inc,
        )
        return feed

    async def start_run(self, loaded: LoadedModel, body: TraceRequest, check: Check) -> RunFeed:
        """Queue a run of what a request asks for. Whatever is refused, or left by its client meanwhile, leaves nothing.

        Raises as `open_run` and `RunFeed.start`.
        """
        from glassformer.run.record import open_run

        opened: list[Run] = []
        is_left = threading.Event()

        def give_up() -> None:
            is_left.set()
            for run in opened:
                with suppress(UnknownTrace):  # the other thread was quicker
                    self.store.delete(run.id)

        def prepare() -> None:
            opened.append(open_run(self.store, loaded, body, check=check, models=self.registry))
            if is_left.is_set():  # meanwhile: whoever waited has found nothing to delete
                give_up()

        try:
            await self.quick(prepare)
            feed = self.open_feed(opened[0])
            await feed.start(lambda: self.engine(loaded))
        except BaseException:
            give_up()
            raise
        return feed

    def _close_feed(self, run: Run) -> None:
        feed = self.feeds.pop(run.id, None)
        if feed is not None:
            self.metrics.recordings_closed.inc()
            feed.leave()

    def let_model_go(self, loaded: LoadedModel) -> None:
        """Drop what keeps an unloaded model in memory; its recordings stay. Called from the thread that unloads it."""
        self.metrics.unloads.inc()
        engine = self._engines.pop(loaded, None)
        if engine is not None:
            engine.close()
        if self._store is not None:
            for run in self._store.list():
                if run.is_of(loaded):
                    run.leave_model()

    def forget_runs(self, model_id: str) -> None:
        """Delete the recordings of a model that is not wanted any more. For a thread."""
        with suppress(GlassformerError):  # a model that is not offered any more has one name only
            model_id = self.registry.catalog.find(model_id).model_id
        if self._store is not None:
            for run in self._store.list():
                if run.model_id == model_id and not run.has_model:
                    with suppress(UnknownTrace):  # another was quicker
                        self._store.delete(run.id)

    async def ask(self, run: Run, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Answer a question about a run in a thread of its own; model and rows are there meanwhile.

        The model is loaded again where it had to make room. Raises as `load` and `Run.looking`.
        """
        if not run.has_model:
            loaded = await self.load(run.model_id)

            def meet() -> None:
                # Held meanwhile, or one that has just been unloaded would be kept in memory by the run.
                with self.registry.use(loaded):
                    run.meet_model(loaded)

            await self.read(meet)

        def answer() -> T:
            with run.looking():
                return call(*args, **kwargs)

        return await self.read(answer)

    async def quick(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something short that may block in a thread."""
        return await to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self._quick)

    async def read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that may wait for a model, or computes, in a thread of its own."""
        return await run_aside(partial(compute, partial(call, *args, **kwargs)), self._reading)

    async def draw_shape(self, wanted: Wanted) -> ModelShape:
        """A shape, after those that were asked for before; no reader waits for it. Raises as `ShapeShelf.draw`."""
        return await run_aside(partial(compute, partial(self.shapes.draw, wanted)), self._drawing)

    def count_drawing(self) -> int:
        """How many wait for a shape that has to be drawn, those included for whom one is drawn just now."""
        now = self._drawing.statistics()
        return now.borrowed_tokens + now.tasks_waiting

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Count an open live connection: a WebSocket or an event stream. Raises TooMany.

        One client has at most half of them.
        """
        client, most = CLIENT.get(), self.settings.max_sockets
        if self._connections.total() >= most or self._connections[client] >= max(1, most // 2):
            raise TooMany("Too many live connections are open.", retry_after_secs=10)
        self._connections[client] += 1
        try:
            yield
        finally:
            self._connections[client] -= 1
            self._connections += Counter()  # those at zero go

    def close(self) -> None:
        """End every generation and stream within one step; returns at once."""
        self.closing.set()
        self.registry.close()
        for engine in list(self._engines.values()):
            engine.close()

    async def wait_closed(self) -> None:
        """Wait, once closed, for the steps that are still being computed."""
        for engine in list(self._engines.values()):
            await self.quick(engine.join, CLOSING_SECS)
        await self.quick(self.registry.close, CLOSING_SECS)


def compute(call: Callable[[], T]) -> T:
    """What `call` gives, with this thread's share of the cores."""
    import_torch()
    from glassformer.compute.computing import working

    with working():
        return call()


def find_services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(find_services)]
