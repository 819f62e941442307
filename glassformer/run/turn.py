"""Turns by key: of those who want the same, one goes first and the others wait. Knows nothing of what is made."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Place:
    """Where those who want the same stand; gone with the last of them."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    wanted_by: int = 0


class Turns:
    """A lock for each key that somebody wants just now. Any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._places: dict[Hashable, Place] = {}

    @contextmanager
    def take(self, key: Hashable) -> Iterator[None]:
        """Be alone with `key` meanwhile. Who has it may take it again."""
        with self._mutex:
            place = self._places.setdefault(key, Place())
            place.wanted_by += 1
        try:
            with place.lock:
                yield
        finally:
            with self._mutex:
                place.wanted_by -= 1
                if not place.wanted_by:
                    del self._places[key]
