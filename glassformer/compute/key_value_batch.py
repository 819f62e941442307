"""Which short sequences lie in common buffers, so that one operation attends for all that write.

Attending for each sequence alone is a dozen small operations in each block, which for short texts take longer than the
arithmetic. Long ones stay apart: side by side, all would cost as much as the longest. Knows no model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from glassformer.compute.key_value import FIRST_CAPACITY, Buffers, KeyValueBatch, KeyValueStore, PackedSpan

log = logging.getLogger(__name__)

# Positions up to which sequences are put side by side, and how many of them it takes to gain something.
MOST_POSITIONS, FEWEST_TOGETHER = 512, 4


class BatchedRows:
    """Rows of a packed row that are one each of a batch's sequences, and attend together."""

    def __init__(self, batch: KeyValueBatch, spans: Sequence[PackedSpan], device: torch.device) -> None:
        self.spans = spans
        self.slots = [batch.stores.index(span.store) for span in spans]
        self.slot_count = len(batch.stores)
        self.longest = max(span.stop for span in spans)
        self._batch = batch
        rows = [span.rows.start for span in spans]
        row_of_slot = dict(zip(self.slots, rows, strict=True))
        self.rows = torch.tensor(rows, device=device)
        self._slots = torch.tensor(self.slots, device=device)
        self._positions = torch.tensor([span.start for span in spans], device=device)
        self._row_of_slot = torch.tensor(
            [row_of_slot.get(slot, rows[0]) for slot in range(self.slot_count)], device=device
        )

    def extend(self, call: int, key: Tensor, value: Tensor) -> Buffers:
        """The keys and values [slot, kv_head, position, d_head] of an attention call, new rows included.

        `key` and `value` are the packed row's, [1, kv_head, row, d_head].
        """
        new_key, new_value = (rows[0].transpose(0, 1).index_select(0, self.rows) for rows in (key, value))
        return self._batch.extend(call, self._slots, self._positions, new_key, new_value, self.longest)

    def refuse(self) -> None:
        """Say that the model's attention cannot be computed together."""
        self._batch.is_refused = True

    def gather(self, query: Tensor) -> Tensor:
        """Of queries [1, head, row, d_head] the slots' rows, [slot, head, d_head]; any for slots without one."""
        return query[0].transpose(0, 1).index_select(0, self._row_of_slot)

    def scatter(self, mixed: Tensor) -> Tensor:
        """Of what attention gave [1, slot, head, d_head] the rows', [1, row, head, d_head]."""
        return mixed.index_select(1, self._slots)


class KeyValueBatches:
    """Which of an engine's stores lie side by side: those of about the same length, by the power of two above it."""

    def __init__(self) -> None:
        self._batches: dict[int, KeyValueBatch] = {}

    def arrange(self, spans: Sequence[PackedSpan], device: torch.device) -> list[BatchedRows]:
        """Put the sequences side by side that the next packed row brings one row each of.

        Those stay apart for which there is no memory, and all once a batch was refused.
        """
        is_refused = any(batch.is_refused for batch in self._batches.values())
        single = [
            span
            for span in spans
            if span.rows.stop - span.rows.start == 1 and span.store.calls and not is_refused
        ]
        groups: list[tuple[KeyValueBatch, list[PackedSpan]]] = []
        for capacity, members in groupby(sorted(single, key=find_capacity), key=find_capacity):
            together = list(members)
            if capacity <= MOST_POSITIONS and len(together) >= FEWEST_TOGETHER:
                batch = self._batches.setdefault(capacity, KeyValueBatch(capacity))
                try:
                    batch.add_all(together)
                except (MemoryError, RuntimeError) as exc:
                    log.debug("%d sequences attend apart: %s", len(together), exc)
                    continue
                groups.append((batch, together))
        for span in spans:
            batch_left = span.store.batch
            if batch_left is not None and (is_refused or span.stop > batch_left.capacity):
                self.remove(span.store, span.start)
        # Only now that nothing moves any more: who leaves a batch makes others change their slots.
        return [BatchedRows(batch, together, device) for batch, together in groups]

    def remove(self, store: KeyValueStore, length: int) -> None:
        """Let `store` have its first `length` positions for itself."""
        if store.batch is not None:
            store.batch.remove(store, length)


def find_capacity(span: PackedSpan) -> int:
    """The power of two that holds a span's positions."""
    return max(FIRST_CAPACITY, 1 << (span.stop - 1).bit_length())
