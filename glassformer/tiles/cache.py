"""Bytes kept between questions under a budget, the least recently used going first. Any thread may ask."""

from __future__ import annotations

import threading
from collections import OrderedDict


class ByteCache:
    """Values by key; holds at most `budget_bytes` of them, and none that alone is larger."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0

    def find(self, key: str) -> bytes | None:
        """The value kept under `key`, if it is still there."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def keep(self, key: str, value: bytes) -> None:
        """Keep `value` for a while."""
        if len(value) > self._budget_bytes:
            return
        with self._lock:
            self.nbytes += len(value) - len(self._values.pop(key, b""))
            self._values[key] = value
            while self.nbytes > self._budget_bytes:
                _, dropped = self._values.popitem(last=False)
                self.nbytes -= len(dropped)
