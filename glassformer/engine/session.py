"""One generation in the engine, and who asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from glassformer.engine.client import CLIENT
from glassformer.engine.generation_request import DecodedToken
from glassformer.engine.sequence import TokenSequence


@dataclass(eq=False)
class Session:
    """One generation in the engine. The callbacks come from its thread and must neither block nor raise.

    `on_end` is called exactly once, with the exception that ended the generation, if any.
    """

    sequence: TokenSequence
    on_step: Callable[[DecodedToken], None]
    on_end: Callable[[BaseException | None], None]
    on_begin: Callable[[], None] = lambda: None
    client: str = field(default_factory=CLIENT.get)
    # On the monotonic clock: when it was asked for, and when its last token was there.
    asked_at: float = field(default_factory=time.monotonic)
    told_at: float | None = None
    # The number of the step that last moved it alone, in a forward of its own.
    moved_at: int = -1

    def cancel(self) -> None:
        """End within one step; harmless at any time and from any thread."""
        self.sequence.cancelled.set()
