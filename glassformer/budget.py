"""Bytes that many things share: when they run out, what was looked at longest ago makes way.

A `Budget` counts holdings of any kind, each as large as it says at the moment; a `ByteCache` holds values of one kind
in a budget of its own or a shared one. Any thread may ask. Costs a pass over what is held each time something comes in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Holding(Protocol):
    """Something that takes memory and can give it back."""

    @property
    def nbytes(self) -> int:
        """The bytes it takes now, and those it has been promised."""

    @property
    def is_looked_at(self) -> bool:
        """Whether somebody looks at it: then it goes after all others."""

    def give_up(self) -> bool:
        """Give its bytes back; False where that cannot be now, or was done already. Any thread."""


class Budget:
    """At most `limit_bytes` for all that is held, as far as what is held can go, and once what makes way has gone."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.lock = threading.RLock()
        # Looked at longest ago first; a dict, for its order.
        self._holdings: dict[int, Holding] = {}

    @property
    def held_bytes(self) -> int:
        """The bytes of all that is held."""
        with self.lock:
            return sum(holding.nbytes for holding in self._holdings.values())

    def hold(self, holding: Holding) -> None:
        """Count a holding from now on, and make room for it."""
        self.look_at(holding)
        self.make_room(keep=holding)

    def look_at(self, holding: Holding) -> None:
        """Somebody looks at a holding now."""
        with self.lock:
            self._holdings.pop(id(holding), None)
            self._holdings[id(holding)] = holding

    def drop(self, holding: Holding) -> None:
        """Count a holding no more; harmless when done twice."""
        with self.lock:
            self._holdings.pop(id(holding), None)

    def make_room(self, needed_bytes: int = 0, *, keep: Holding | None = None) -> int:
        """Let others go than `keep` until `needed_bytes` more fit; gives the bytes that are left then.

        Less than none is left where too little could go. Those that nobody looks at go first, and of each kind those
        that were looked at longest ago.
        """
        with self.lock:
            left_bytes = self._count_left(needed_bytes)
            if left_bytes >= 0:
                return left_bytes
            candidates = sorted(self._holdings.values(), key=lambda held: held.is_looked_at)
        for holding in candidates:
            # Not with the lock held: it can take a while, and others only want to know what there is.
            if holding is not keep and holding.nbytes and holding.give_up():
                left_bytes = self._count_left(needed_bytes)
                if left_bytes >= 0:
                    break
        return left_bytes

    def _count_left(self, needed_bytes: int) -> int:
        return self.limit_bytes - self.held_bytes - needed_bytes


class ByteCache(Generic[K, V]):
    """Values by key, each of as many bytes as `measure` says, in `budget`.

    Of this kind alone at most `most_bytes` are kept, where that is given, and never a value that is larger alone. The
    newest stays where `keeps_newest`, however large: somebody looks at it.
    """

    def __init__(
        self,
        budget: Budget,
        measure: Callable[[V], int],
        *,
        most_bytes: int | None = None,
        keeps_newest: bool = False,
    ) -> None:
        self._budget = budget
        self._measure = measure
        self._most_bytes = most_bytes
        self._keeps_newest = keeps_newest
        # Looked at longest ago first.
        self._kept: dict[K, Kept[K, V]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        with self._budget.lock:
            return sum(kept.nbytes for kept in self._kept.values())

    def find(self, key: K) -> V | None:
        """The value kept under `key`, if it is still there; it has been looked at now."""
        with self._budget.lock:
            kept = self._kept.pop(key, None)
            if kept is None:
                return None
            self._kept[key] = kept
            self._budget.look_at(kept)
            return kept.value

    def keep(self, key: K, value: V) -> None:
        """Keep `value` for a while, in place of what was kept under its key."""
        kept = Kept(self, key, value, self._measure(value))
        largest_bytes = self._budget.limit_bytes if self._most_bytes is None else self._most_bytes
        if kept.nbytes > largest_bytes and not self._keeps_newest:
            return
        with self._budget.lock:
            self.drop(key)
            self._kept[key] = kept
            if self._most_bytes is not None:
                for other in list(self._kept.values()):
                    if self.nbytes <= self._most_bytes or other is kept:
                        break
                    other.give_up()
            self._budget.look_at(kept)
        if self._budget.make_room(keep=kept) < 0 and not self._keeps_newest:
            kept.give_up()

    def drop(self, key: K) -> None:
        """Keep nothing under `key`."""
        with self._budget.lock:
            kept = self._kept.pop(key, None)
            if kept is not None:
                self._budget.drop(kept)

    def let_go(self, kept: Kept[K, V]) -> bool:
        """Keep a value no longer; False where it had gone."""
        with self._budget.lock:
            if self._kept.get(kept.key) is not kept:
                return False
            self.drop(kept.key)
            return True

    def items(self) -> list[tuple[K, V]]:
        """All that is kept, looked at longest ago first."""
        with self._budget.lock:
            return [(key, kept.value) for key, kept in self._kept.items()]

    def clear(self) -> None:
        """Give everything up."""
        for key, _ in self.items():
            self.drop(key)


class Kept(Generic[K, V]):
    """A value of a cache, as its budget sees it."""

    is_looked_at = False

    def __init__(self, cache: ByteCache[K, V], key: K, value: V, nbytes: int) -> None:
        self.value = value
        self.nbytes = nbytes
        self.key = key
        self._cache = cache

    def give_up(self) -> bool:
        return self._cache.let_go(self)
