"""What is told of a run while it goes on: its state and its events, kept so that a reader can resume, and its end.

Steps happen on the model's thread; everything here changes on the event loop's thread, except where said. Knows the
event loop and no HTTP. Imports torch; import it only where a model has been loaded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import DecodedToken
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.errors import GlassformerError, error_body
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import TraceState
from glassformer.run.recording import Send
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state, describe_step

log = logging.getLogger(__name__)


class InThread(Protocol):
    """Runs something short that may block in a thread."""

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """What `call` gives."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a run; `data` is JSON. Ids count from zero."""

    id: int
    name: Literal["state", "step", "error"]
    data: str


class RunFeed:
    """One run, and those who follow it.

    `patience_secs` is how long a run goes on that nobody follows or asks about. `on_token` hears of each token.
    """

    def __init__(
        self,
        run: Run,
        *,
        in_thread: InThread,
        patience_secs: float,
        on_token: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run
        self.session: Session | None = None
        # Until the end is told: the run itself lets the model go sooner.
        self._loaded: LoadedModel | None = run.loaded
        self._loop = asyncio.get_running_loop()
        self._in_thread = in_thread
        self._patience_secs = patience_secs
        self._on_token = on_token
        # A state names every token, so it is written out for each reader, in a thread, and kept without them.
        self._events: list[Told | Callable[[], Told]] = []
        self._changed = asyncio.Event()
        self._is_over = False
        self._told_rewritten = 0
        self._stepped_at_secs: list[float] = []
        self._readers = 0
        self._asked_at_secs = self._loop.time()
        self._patience: asyncio.TimerHandle | None = None
        self._on_leave: dict[Callable[[], None], Callable[[], None]] = {}

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def start(self, engine: Callable[[], Engine]) -> None:
        """Queue the run in its model's `engine`. Raises BadValue, TooMany or InUse; nothing runs then."""
        run = self.run
        assert run.request is not None
        try:
            # In a thread: a constraint's grammar can take a while.
            sequence = await self._in_thread(TokenSequence, run.loaded, run.request, watcher=run.watcher)
            session = Session(
                sequence,
                on_begin=lambda: self._post(self._begin),
                on_step=self._take,
                on_end=self._end,
            )
            run.hold_model()
            engine().submit(session)
        except BaseException:  # a client that leaves meanwhile too
            run.release()
            raise
        self.session = session
        self._stop_unless_wanted()

    def replay(self) -> None:
        """Tell of a run that was recorded elsewhere: what it wrote. On the loop's thread."""
        for token in self.run.steps:
            self._tell_token(token)
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
        with self.run.followed():
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
        waited_secs = 0.0 if self._readers else self._loop.time() - self._asked_at_secs
        left_secs = self._patience_secs - waited_secs
        if left_secs > 0:
            self._patience = self._loop.call_later(left_secs, self._stop_unless_wanted)
            return
        log.info("the recording %s, which nobody waits for, is stopped", self.run.id)
        self.stop()

    def leave(self) -> None:
        """Stop, and let everybody go who follows: the recording has been deleted. Any thread."""
        self.stop()
        self._post(self._let_go)

    def check_sites(self, addresses: list[str]) -> None:
        """Have sites checked that have not been; for a thread."""
        for address in addresses:
            self.run.find_site(address)

    def subscribe(
        self, addresses: list[str], send: Send, *, on_leave: Callable[[], None]
    ) -> Callable[[], None]:
        """Live frames of `addresses` until the function returned is called; `on_leave` when the recording goes first.

        Raises UnknownAddress. On the event loop's thread, as `on_leave` is; `send` is called from the model's.
        """
        following = ExitStack()
        end = self.run.subscribe(addresses, send)
        following.enter_context(self.read())
        self._on_leave[end] = on_leave

        def unsubscribe() -> None:
            end()
            following.close()
            self._on_leave.pop(end, None)

        return unsubscribe

    # --- what happens on the model's thread ------------------------------------------------------

    def _take(self, token: DecodedToken) -> None:
        self.run.take(token)
        self._post(self._tell_step, token)

    def _end(self, error: BaseException | None) -> None:
        try:
            self.run.release()
        finally:
            self._post(self._finish, error)

    def _post(self, call: object, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)  # type: ignore[arg-type]
        except RuntimeError:  # the loop has been closed: nobody listens any more
            self.stop()

    # --- what happens on the event loop's thread -------------------------------------------------

    def _begin(self) -> None:
        self.run.status = "running"
        self._tell_state()

    def _tell_step(self, token: DecodedToken) -> None:
        # The prompt is recorded, or rows that were told of are others now.
        if not self._stepped_at_secs or self.run.recording.rewritten > self._told_rewritten:
            self._tell_state()
        self._stepped_at_secs.append(time.monotonic())
        self._on_token()
        self._tell_token(token)

    def _tell_token(self, token: DecodedToken) -> None:
        if self._loaded is not None:
            self._tell("step", describe_step(self._loaded, token).model_dump_json())

    def _finish(self, error: BaseException | None) -> None:
        session = self.session
        self.run.end(error, is_cancelled=session is not None and session.sequence.cancelled.is_set())
        if error is not None:
            if not isinstance(error, GlassformerError):
                log.error("the run %s failed", self.run.id, exc_info=error)
            self._tell("error", json.dumps(error_body(error)))
        self._tell_state()
        self._close()

    def _close(self) -> None:
        if self._patience is not None:
            self._patience.cancel()  # else it would hold the recording's memory
        self._is_over = True
        self._loaded = None
        self._wake()

    def _let_go(self) -> None:
        """After this no reader and no page holds the recording."""
        self._close()
        for call in list(self._on_leave.values()):
            call()

    def _tell_state(self) -> None:
        outline, count = self._outline(), len(self.run.token_ids)
        self._told_rewritten = outline.rewritten
        self._events.append(partial(self._write_state, outline, count, len(self._events)))
        self._wake()

    def _write_state(self, outline: TraceState, count: int, event_id: int) -> Told:
        """The event of a state as it was when there were `count` tokens. Any thread."""
        return Told(event_id, "state", self._fill(outline, count).model_dump_json())

    def _tell(self, name: Literal["step", "error"], data: str) -> None:
        self._events.append(Told(len(self._events), name, data))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- telling ---------------------------------------------------------------------------------

    def state(self) -> TraceState:
        """The state now; it names every token, so the event loop leaves it to a thread. Any thread."""
        return self._fill(self._outline(), len(self.run.token_ids))

    def _outline(self) -> TraceState:
        """The state without its tokens."""
        return describe_state(self.run, tokens_per_sec=self.tokens_per_sec())

    def _fill(self, outline: TraceState, count: int) -> TraceState:
        return outline.model_copy(update={"tokens": self.run.tell_tokens(count)})

    def tokens_per_sec(self) -> float | None:
        """Generated tokens a second, the prompt's forward left out."""
        steps = self._stepped_at_secs
        if len(steps) < 2 or steps[-1] <= steps[0]:
            return None
        return (len(steps) - 1) / (steps[-1] - steps[0])

    async def events(self, after: int = -1) -> AsyncIterator[Told]:
        """Every event whose id is greater than `after`, those to come too; ends with the run."""
        position = max(0, after + 1)
        with self.read():
            while True:
                changed = self._changed
                while position < len(self._events):
                    told = self._events[position]
                    yield told if isinstance(told, Told) else await self._in_thread(told)
                    position += 1
                if self._is_over and position >= len(self._events):
                    return
                await changed.wait()
