"""The run behind a recording: its state, its events (kept, so that a reader can resume), its end.

Steps happen on the model's thread; everything here changes on the event loop's thread, except where said.
Imports torch; import it only where a model has been loaded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import structlog

from glassformer.engine.engine import Session
from glassformer.engine.request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.errors import GlassformerError
from glassformer.protocol.messages import Sampling, TraceFinish, TraceState, TraceStatus
from glassformer.run.recording import Send
from glassformer.run.run import Trace
from glassformer.run.state import describe_state, describe_step
from glassformer.server.errors import FAULT, error_body
from glassformer.server.framing import event, json_event
from glassformer.server.services import Services

log = structlog.get_logger(__name__)


class TraceRun:
    """One generation that records itself into `trace`."""

    def __init__(self, services: Services, trace: Trace) -> None:
        self.services = services
        self.trace = trace
        self.created_at_secs = time.monotonic()
        self.sampling = Sampling()
        self.status: TraceStatus = "queued"
        self.finish_reason: TraceFinish | None = None
        self.error: str | None = None
        self.session: Session | None = None
        self._loop = asyncio.get_running_loop()
        # A state names every token, so it is written out for each reader, in a thread, and kept without them.
        self._events: list[str | Callable[[], str]] = []
        self._changed = asyncio.Event()
        self._is_over = False
        self._told_rewritten = 0
        self._stepped_at_secs: list[float] = []
        self._readers = 0
        self._asked_at_secs = self._loop.time()
        self._patience: asyncio.TimerHandle | None = None
        self._on_forget: dict[Callable[[], None], Callable[[], None]] = {}

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def start(self, request: GenerationRequest) -> None:
        """Queue the run of `request`. Raises BadValue, TooMany or InUse; the recording is then forgotten."""
        self.sampling = request.sampling
        lease = ExitStack()
        self.trace.is_running = True
        try:
            # In a thread: a constraint's grammar can take a while.
            sequence = await self.services.quick(
                TokenSequence, self.trace.loaded, request, watcher=self.trace.watcher
            )
            session = Session(
                sequence,
                on_begin=lambda: self._post(self._begin),
                on_step=self._take,
                on_end=lambda error: self._end(error, lease),
            )
            lease.enter_context(self.services.registry.use(self.trace.loaded))
            self.services.engine(self.trace.loaded).submit(session)
        except BaseException:  # a client that leaves meanwhile too
            self.trace.is_running = False
            lease.close()
            self.forget()
            raise
        self.session = session
        self.services.runs[self.trace.id] = self
        self._stop_unless_wanted()

    def replay(self, tokens: Sequence[DecodedToken], sampling: Sampling) -> None:
        """Tell of a trace that was recorded elsewhere: what it wrote and how that was drawn. On the loop's thread."""
        self.services.runs[self.trace.id] = self
        self.sampling = sampling
        self.status, self.finish_reason = "done", "length"
        for token in tokens:
            self._tell("step", describe_step(self.trace.loaded, token).model_dump_json())
            self.finish_reason = token.finish_reason or self.finish_reason
        self._tell_state()
        self._close()

    def stop(self) -> None:
        """End the generation within one step; what was recorded stays."""
        if self.session is not None:
            self.session.cancel()

    def note_question(self) -> None:
        """Somebody asks about the recording, so somebody waits for it."""
        self._asked_at_secs = self._loop.time()

    @contextmanager
    def read(self) -> Iterator[None]:
        """Somebody follows the recording for as long as this lasts. On the event loop's thread."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            self.note_question()

    def _stop_unless_wanted(self) -> None:
        """Stop the run once nobody has followed it or asked about it for as long as a request may take."""
        if self._is_over:
            return
        patience_secs = self.services.settings.request_timeout_secs
        left_secs = (
            patience_secs if self._readers else self._asked_at_secs + patience_secs - self._loop.time()
        )
        if left_secs > 0:
            self._patience = self._loop.call_later(left_secs, self._stop_unless_wanted)
            return
        log.info("a recording that nobody waits for is stopped", trace=self.trace.id)
        self.stop()

    def forget(self) -> None:
        """Stop, and give the recording up. Any thread; harmless when done twice."""
        self.stop()
        self.services.runs.pop(self.trace.id, None)
        if any(trace.id == self.trace.id for trace in self.services.store.list()):
            self.services.store.delete(self.trace.id)
        self._post(self._leave)

    def check_sites(self, addresses: list[str]) -> None:
        """Have sites checked that have not been; for a thread."""
        for address in addresses:
            self.trace.find_site(address)

    def subscribe(
        self, addresses: list[str], send: Send, *, on_forget: Callable[[], None]
    ) -> Callable[[], None]:
        """Live frames of `addresses` until the function returned is called; `on_forget` when the recording goes first.

        Raises UnknownAddress. On the event loop's thread, as `on_forget` is; `send` is called from the model's.
        """
        end = self.trace.subscribe(addresses, send)
        self._on_forget[end] = on_forget
        self._readers += 1

        def unsubscribe() -> None:
            end()
            if end in self._on_forget:
                self._readers -= 1
                self.note_question()
            self._on_forget.pop(end, None)

        return unsubscribe

    # --- what happens on the model's thread ------------------------------------------------------

    def _take(self, token: DecodedToken) -> None:
        # Here, so that the event loop finds it decoded and never waits for a tokenizer.
        self.trace.loaded.token(token.token_id)
        # Before the next forward, so that a position always has its token.
        self.trace.append_token(token.token_id)
        self._post(self._tell_step, token)

    def _end(self, error: BaseException | None, lease: ExitStack) -> None:
        lease.close()
        self.trace.is_running = False
        self._post(self._finish, error)

    def _post(self, call: object, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)  # type: ignore[arg-type]
        except RuntimeError:  # the loop has been closed: nobody listens any more
            self.stop()

    # --- what happens on the event loop's thread -------------------------------------------------

    def _begin(self) -> None:
        self.status = "running"
        self._tell_state()

    def _tell_step(self, token: DecodedToken) -> None:
        # The prompt is recorded, or rows that were told of are others now.
        if not self._stepped_at_secs or self.trace.recording.rewritten > self._told_rewritten:
            self._tell_state()
        self._stepped_at_secs.append(time.monotonic())
        self.services.metrics.tokens.labels("generated").inc()
        if token.finish_reason is not None:
            self.finish_reason = token.finish_reason
        self._tell("step", describe_step(self.trace.loaded, token).model_dump_json())

    def _finish(self, error: BaseException | None) -> None:
        if error is not None:
            self.status = "failed"
            self.error = error.message if isinstance(error, GlassformerError) else FAULT
            if not isinstance(error, GlassformerError):
                log.error("a run failed", trace=self.trace.id, exc_info=error)
            self._tell_json("error", error_body(error if isinstance(error, Exception) else RuntimeError()))
        elif (
            self.finish_reason is None
            and self.session is not None
            and self.session.sequence.cancelled.is_set()
        ):
            self.status, self.finish_reason = "stopped", "cancelled"
        else:
            self.status = "done"
            self.finish_reason = self.finish_reason or "length"
        self._tell_state()
        self._close()

    def _close(self) -> None:
        if self._patience is not None:
            self._patience.cancel()  # else it would hold the recording's memory
        self._is_over = True
        self._wake()

    def _leave(self) -> None:
        """After this no reader and no page holds the recording."""
        self._close()
        for call in list(self._on_forget.values()):
            call()

    def _tell_state(self) -> None:
        outline, count = self._outline(), len(self.trace.token_ids)
        self._told_rewritten = outline.rewritten
        self._events.append(partial(self._write_state, outline, count, len(self._events)))
        self._wake()

    def _write_state(self, outline: TraceState, count: int, event_id: int) -> str:
        """The event of a state as it was when there were `count` tokens. Any thread."""
        return event(self._fill(outline, count).model_dump_json(), name="state", event_id=event_id)

    def _tell(self, name: str, data: str) -> None:
        self._events.append(event(data, name=name, event_id=len(self._events)))
        self._wake()

    def _tell_json(self, name: str, value: object) -> None:
        self._events.append(json_event(value, name=name, event_id=len(self._events)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- telling ---------------------------------------------------------------------------------

    def state(self) -> TraceState:
        """The state now; it names every token, so the event loop leaves it to a thread. Any thread."""
        return self._fill(self._outline(), len(self.trace.token_ids))

    def _outline(self) -> TraceState:
        """The state without its tokens."""
        return describe_state(
            self.trace,
            status=self.status,
            sampling=self.sampling,
            finish_reason=self.finish_reason,
            error=self.error,
            tokens_per_sec=self.tokens_per_sec(),
        )

    def _fill(self, outline: TraceState, count: int) -> TraceState:
        tokens = self.trace.loaded.tokens(self.trace.token_ids[:count])
        return outline.model_copy(update={"tokens": tokens})

    def tokens_per_sec(self) -> float | None:
        """Generated tokens a second, the prompt's forward left out."""
        steps = self._stepped_at_secs
        if len(steps) < 2 or steps[-1] <= steps[0]:
            return None
        return (len(steps) - 1) / (steps[-1] - steps[0])

    async def events(self, after: int = -1) -> AsyncIterator[str]:
        """Every event whose id is greater than `after`, those to come too; ends with the run."""
        position = max(0, after + 1)
        with self.read():
            while True:
                changed = self._changed
                while position < len(self._events):
                    told = self._events[position]
                    yield told if isinstance(told, str) else await self.services.quick(told)
                    position += 1
                if self._is_over and position >= len(self._events):
                    return
                await changed.wait()
