"""What attention remembers of a sequence: keys and values, in buffers that double when they are full, or in a slot.

Memory: two buffers for each attention call of a forward, [1, kv_head, capacity, d_head] each; or of a batch, which
sequences share. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor

FIRST_CAPACITY = 64

Buffers = tuple[Tensor, Tensor]
"""Keys and values of one attention call: [1, kv_head, capacity, d_head] each, or [slot, ...] of several sequences."""


class KeyValueStore:
    """Keys and values of one sequence for each attention call of a forward, counted in the order they are made.

    The buffers are its own, or a slot of the `batch` it is in.
    """

    def __init__(self) -> None:
        self.calls: list[Buffers] = []
        self.batch: KeyValueBatch | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, what is not filled yet included."""
        return sum(key.nbytes + value.nbytes for key, value in self.calls)

    def extend(self, call: int, start: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the rows that begin at position `start` into the buffers of attention call `call`.

        `key` and `value` are [1, kv_head, row, d_head]; returns everything up to their last row, as views. Writing the
        same rows again is harmless.
        """
        count = key.shape[2]
        stop = start + count
        if call == len(self.calls):
            capacity = max(FIRST_CAPACITY, stop)
            self.calls.append((grow(key, 0, capacity), grow(value, 0, capacity)))
        keys, values = self.calls[call]
        if keys.shape[2] < stop:
            capacity = max(stop, 2 * keys.shape[2])
            keys, values = grow(keys, start, capacity), grow(values, start, capacity)
            self.calls[call] = keys, values
        keys.narrow(2, start, count).copy_(key)
        values.narrow(2, start, count).copy_(value)
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)

    def fork(self, length: int) -> KeyValueStore:
        """A store of its own with the first `length` positions, in buffers of just that size."""
        other = KeyValueStore()
        other.calls = [(grow(key, length, length), grow(value, length, length)) for key, value in self.calls]
        return other

    def move(self, calls: Sequence[Buffers], length: int) -> None:
        """Take other buffers, with a copy of the first `length` positions and zeros after them."""
        for mine, others in zip(self.calls, calls, strict=True):
            for old, new in zip(mine, others, strict=True):
                new[:, :, :length] = old[:, :, :length]
                new[:, :, length:] = 0
        self.calls = list(calls)


@dataclass(frozen=True, slots=True)
class PackedSpan:
    """The rows of a packed row that belong to one sequence; the first stands at position `start` of it."""

    rows: slice
    start: int
    store: KeyValueStore

    @property
    def stop(self) -> int:
        """The position after the last row's."""
        stop: int = self.start + self.rows.stop - self.rows.start
        return stop


class KeyValueBatch:
    """Buffers [slot, kv_head, capacity, d_head] for each attention call; each of `stores` has the slot of its index."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.stores: list[KeyValueStore] = []
        self.is_refused = False
        # Numbers everywhere, also after a slot's last position: a masked key still is multiplied, by zero.
        self._calls: list[Buffers] = []

    def add_all(self, spans: Sequence[PackedSpan]) -> None:
        """Give the sequences of `spans` a slot each, where they have none yet, with what is before the spans."""
        new = [span for span in spans if span.store.batch is not self]
        count = len(self.stores) + len(new)
        if count > self._slot_count:
            self._resize(max(count, 2 * self._slot_count), new[0].store)
        for span in new:
            span.store.move(self._read_slot(len(self.stores)), span.start)
            self.stores.append(span.store)
            former, span.store.batch = span.store.batch, self
            if former is not None:
                former._close_gap(span.store)

    def remove(self, store: KeyValueStore, length: int) -> None:
        """Take `store` out, with a copy of its first `length` positions of its own; with nothing for 0."""
        store.calls = store.fork(length).calls if length else []
        store.batch = None
        self._close_gap(store)

    def extend(
        self, call: int, slots: Tensor, positions: Tensor, key: Tensor, value: Tensor, stop: int
    ) -> Buffers:
        """Put a row each at `positions` of `slots` into the buffers of attention call `call`.

        `key` and `value` are [row, kv_head, d_head]; returns all slots up to position `stop`, as views.
        """
        keys, values = self._calls[call]
        keys[slots, :, positions] = key
        values[slots, :, positions] = value
        count = len(self.stores)
        return keys[:count, :, :stop], values[:count, :, :stop]

    @property
    def _slot_count(self) -> int:
        return self._calls[0][0].shape[0] if self._calls else 0

    def _read_slot(self, slot: int) -> list[Buffers]:
        return [(keys[slot : slot + 1], values[slot : slot + 1]) for keys, values in self._calls]

    def _close_gap(self, store: KeyValueStore) -> None:
        """Let the last store have the slot of one that has left, and give back what is no longer needed."""
        slot, last = self.stores.index(store), self.stores[-1]
        if last is not store:
            last.move(self._read_slot(slot), self.capacity)
            self.stores[slot] = last
        self.stores.pop()
        if not self.stores:
            self._calls = []
        elif 4 * len(self.stores) <= self._slot_count:
            with suppress(MemoryError, RuntimeError):  # no room for less beside what there is: it stays
                self._resize(2 * len(self.stores), self.stores[0])

    def _resize(self, slot_count: int, like: KeyValueStore) -> None:
        """Take buffers for another number of slots, of the shapes that `like` has; or raise and change nothing."""
        self._calls = [
            (make_slots(keys, slot_count, self.capacity), make_slots(values, slot_count, self.capacity))
            for keys, values in like.calls
        ]
        for slot, store in enumerate(self.stores):
            store.move(self._read_slot(slot), self.capacity)


def make_slots(buffer: Tensor, slot_count: int, capacity: int) -> Tensor:
    """A buffer like `buffer` [slot, kv_head, position, d_head] of another size; what is in it is yet to be written."""
    return buffer.new_empty(slot_count, buffer.shape[1], capacity, buffer.shape[3])


def grow(tensor: Tensor, kept: int, capacity: int) -> Tensor:
    """A buffer like `tensor` [1, kv_head, position, d_head] for `capacity` positions, with the first `kept` copied."""
    grown = tensor.new_empty(1, tensor.shape[1], capacity, tensor.shape[3])
    grown[:, :, :kept] = tensor[:, :, :kept]
    return grown
