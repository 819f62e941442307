"""Whether what lies in a place is still what was looked at, and what was found out about places that are.

Told by names, sizes, times of change and inodes: a file that is replaced within the same second is another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Generic, TypeVar

from glassformer.files.gguf import PART

T = TypeVar("T")
# Places that something is remembered of.
MOST_KEPT = 1000
State = tuple[tuple[str, int, int, int], ...]


def read_state(place: Path) -> State | None:
    """How a folder's files are, or the one file that a model is, with its other parts; None where nothing is."""
    try:
        if place.is_dir() or PART.fullmatch(place.name):
            folder = place if place.is_dir() else place.parent
            return tuple(sorted(describe_file(path) for path in folder.iterdir()))
        place.stat()
        return (describe_file(place),)
    except OSError:
        return None


def describe_file(path: Path) -> tuple[str, int, int, int]:
    """Name, bytes, time of change and inode of what a path leads to; of a link that leads nowhere, its own."""
    try:
        found = path.stat()
    except OSError:
        found = os.lstat(path)
    return path.name, found.st_size, found.st_mtime_ns, found.st_ino


class Kept(Generic[T]):
    """What was found out, each as long as the state stays that it was found in. Any thread."""

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[Hashable, T]] = {}
        self._lock = threading.Lock()

    def find(self, key: Hashable, state: Hashable) -> T | None:
        """What was found in this state."""
        with self._lock:
            before, found = self._found.get(key, (None, None))
        return found if before == state else None

    def keep(self, key: Hashable, state: Hashable, found: T) -> None:
        """Remember it; the state is to have been read before it was found out."""
        with self._lock:
            self._found.pop(key, None)
            while len(self._found) >= MOST_KEPT:
                del self._found[next(iter(self._found))]
            self._found[key] = (state, found)
