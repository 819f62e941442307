"""Keys and values of finished generations, kept for the next prompt that begins like one of them.

A next chat turn, an edited tail or a branch from an earlier token then computes only what is new. Bounded by bytes,
least recently used first. The engine's thread alone takes and puts; whoever shares the budget may have some go.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from glassformer.budget import Budget, ByteCache
from glassformer.compute.key_value import KeyValueStore
from glassformer.engine.sequence import TokenSequence, Watcher

# Fewer tokens are computed again sooner than they are found.
SHORTEST = 4


@dataclass(eq=False, slots=True)
class Read:
    """Tokens whose keys and values are kept; `watcher` saw them computed, if it is still there."""

    ids: list[int]
    watcher: weakref.ReferenceType[Watcher] | None


class PrefixCache:
    """Stores by the tokens they hold, at most `most_bytes` of them, in a budget of their own or a shared one."""

    def __init__(self, most_bytes: int, budget: Budget | None = None) -> None:
        self._most_bytes = most_bytes
        self._kept: ByteCache[Read, KeyValueStore] = ByteCache(
            budget or Budget(most_bytes), lambda store: store.nbytes, most_bytes=most_bytes
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return self._kept.nbytes

    def take(self, sequence: TokenSequence) -> tuple[KeyValueStore, int]:
        """A store for `sequence`, and how many of its first tokens that already holds.

        The last token is never among them: its logits are wanted. A watched sequence takes only what another watcher
        saw, which its own then adopts.
        """
        longest = len(sequence.ids) - 1
        common = {read: min(count_common(read.ids, sequence.ids), longest) for read, _ in self._kept.items()}
        for read in sorted(common, key=lambda read: common[read], reverse=True):
            count = common[read]
            if count < SHORTEST:
                break
            store = self._kept.find(read)
            if store is None or not adopt(sequence.watcher, read, count):
                continue
            if count == len(read.ids):
                self._kept.drop(read)
                return store, count  # it comes back, longer
            return store.fork(count), count
        return KeyValueStore(), 0

    def has_room(self, sequence: TokenSequence, store: KeyValueStore) -> bool:
        """Whether what `sequence` has computed is worth keeping, and not too much."""
        return sequence.seen >= SHORTEST and store.nbytes <= self._most_bytes

    def put(self, sequence: TokenSequence, store: KeyValueStore) -> None:
        """Keep what `sequence` has computed, where it `has_room`; what was used longest ago makes way."""
        watcher = sequence.watcher
        ids = sequence.ids[: sequence.seen]
        # What the new one holds too is of no more use.
        for read, _ in self._kept.items():
            if count_common(read.ids, ids) == len(read.ids):
                self._kept.drop(read)
        self._kept.keep(Read(ids, None if watcher is None else weakref.ref(watcher)), store)

    def clear(self) -> None:
        """Give everything up."""
        self._kept.clear()


def adopt(watcher: Watcher | None, read: Read, count: int) -> bool:
    """Whether a sequence with `watcher` may start from the first `count` tokens of `read`."""
    if watcher is None:
        return True
    other = None if read.watcher is None else read.watcher()
    return other is not None and watcher.adopt(other, count)


def count_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common from the start."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
