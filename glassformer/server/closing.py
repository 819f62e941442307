"""The moment when the server is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Closing(asyncio.Event):
    """Set once, and for good; calls those who asked for it. On the event loop's thread."""

    def __init__(self) -> None:
        super().__init__()
        self._then: list[Callable[[], None]] = []

    def then(self, call: Callable[[], None]) -> None:
        self._then.append(call)

    def set(self) -> None:
        super().set()
        for call in self._then:
            call()
