"""Keys and values of finished generations, kept for the next prompt that begins like one of them.

A next chat turn, an edited tail or a branch from an earlier token then computes only what is new. Bounded by bytes,
least recently used first. Not thread-safe: the engine's thread owns it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from glassformer.compute.key_value import KeyValueStore
from glassformer.engine.sequence import TokenSequence, Watcher

# Fewer tokens are computed again sooner than they are found.
SHORTEST = 4


@dataclass(eq=False, slots=True)
class Held:
    """The tokens whose keys and values `store` holds; `watcher` saw them computed, if it is still there."""

    ids: list[int]
    store: KeyValueStore
    watcher: weakref.ReferenceType[Watcher] | None


class PrefixCache:
    """Stores by the tokens they hold."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._held: list[Held] = []  # least recently used first

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held."""
        return sum(held.store.nbytes for held in self._held)

    def take(self, sequence: TokenSequence) -> tuple[KeyValueStore, int]:
        """A store for `sequence`, and how many of its first tokens that already holds.

        The last token is never among them: its logits are wanted. A watched sequence takes only what another watcher
        saw, which its own then adopts.
        """
        longest = len(sequence.ids) - 1
        common = {held: min(count_common(held.ids, sequence.ids), longest) for held in self._held}
        for held in sorted(common, key=lambda held: common[held], reverse=True):
            count = common[held]
            if count < SHORTEST:
                break
            if not adopt(sequence.watcher, held, count):
                continue
            self._held.remove(held)
            if count == len(held.ids):
                return held.store, count  # it comes back, longer
            self._held.append(held)
            return held.store.fork(count), count
        return KeyValueStore(), 0

    def has_room(self, sequence: TokenSequence, store: KeyValueStore) -> bool:
        """Whether what `sequence` has computed is worth keeping, and not too much."""
        return sequence.seen >= SHORTEST and store.nbytes <= self._budget_bytes

    def put(self, sequence: TokenSequence, store: KeyValueStore) -> None:
        """Keep what `sequence` has computed, where it `has_room`; what was used longest ago makes way."""
        watcher = sequence.watcher
        ids = sequence.ids[: sequence.seen]
        # What the new one holds too is of no more use.
        self._held = [held for held in self._held if count_common(held.ids, ids) < len(held.ids)]
        self._held.append(Held(ids, store, None if watcher is None else weakref.ref(watcher)))
        while self.nbytes > self._budget_bytes:
            del self._held[0]

    def clear(self) -> None:
        """Give everything up."""
        self._held.clear()


def adopt(watcher: Watcher | None, held: Held, count: int) -> bool:
    """Whether a sequence with `watcher` may start from the first `count` tokens of `held`."""
    if watcher is None:
        return True
    other = None if held.watcher is None else held.watcher()
    return other is not None and watcher.adopt(other, count)


def count_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
