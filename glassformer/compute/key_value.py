"""What attention remembers of one sequence: keys and values, in buffers that double when they are full.

Memory: two buffers for each attention call of a forward, [1, kv_head, capacity, d_head] each. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from glassformer.compute.key_value_batch import KeyValueBatch

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


def grow(tensor: Tensor, kept: int, capacity: int) -> Tensor:
    """A buffer like `tensor` [1, kv_head, position, d_head] for `capacity` positions, with the first `kept` copied."""
    grown = tensor.new_empty(1, tensor.shape[1], capacity, tensor.shape[3])
    grown[:, :, :kept] = tensor[:, :, :kept]
    return grown
