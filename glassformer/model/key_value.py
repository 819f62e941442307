"""What attention remembers of one sequence: keys and values, in buffers that double when they are full.

Memory: two buffers for each attention call of a forward, [1, kv_head, capacity, d_head] each. Knows no model.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIRST_CAPACITY = 64


class KeyValueStore:
    """Keys and values of one sequence for each attention call of a forward, counted in the order they are made."""

    def __init__(self) -> None:
        self._calls: list[tuple[Tensor, Tensor]] = []

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, what is not filled yet included."""
        return sum(key.nbytes + value.nbytes for key, value in self._calls)

    def extend(self, call: int, start: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the rows that begin at position `start` into the buffers of attention call `call`.

        `key` and `value` are [1, kv_head, row, d_head]; returns everything up to their last row, as views. Writing the
        same rows again is harmless.
        """
        count = key.shape[2]
        stop = start + count
        if call == len(self._calls):
            capacity = max(FIRST_CAPACITY, stop)
            self._calls.append((grow(key, 0, capacity), grow(value, 0, capacity)))
        keys, values = self._calls[call]
        if keys.shape[2] < stop:
            capacity = max(stop, 2 * keys.shape[2])
            keys, values = grow(keys, start, capacity), grow(values, start, capacity)
            self._calls[call] = keys, values
        keys.narrow(2, start, count).copy_(key)
        values.narrow(2, start, count).copy_(value)
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)

    def fork(self, length: int) -> KeyValueStore:
        """A store of its own with the first `length` positions, in buffers of just that size."""
        other = KeyValueStore()
        other._calls = [
            (key[:, :, :length].clone(memory_format=torch.contiguous_format), value[:, :, :length].clone())
            for key, value in self._calls
        ]
        return other


def grow(tensor: Tensor, kept: int, capacity: int) -> Tensor:
    """A buffer like `tensor` [1, kv_head, position, d_head] for `capacity` positions, with the first `kept` copied."""
    grown = tensor.new_empty(1, tensor.shape[1], capacity, tensor.shape[3])
    grown[:, :, :kept] = tensor[:, :, :kept]
    return grown
