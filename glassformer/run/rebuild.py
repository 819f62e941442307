"""Making residuals again that were given up, along the path on which they were made.

The same forwards through the same keys and values, the prompt in its pieces and then token by token, give the same rows
to the bit; one whole forward gives others in 16 bits, more than half of all cells. Whoever shared a forward is stood in
for, since the number of rows decides how a product is summed, and that of texts which attend together how attention
is. Not repeated is which rows experts were given beside these. It takes as long as the first time. Each forward takes
the model's lock for itself, so that others' steps come in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.compute.attention import watching
from glassformer.compute.key_value import KeyValueStore
from glassformer.compute.linear import is_quickened, own_products
from glassformer.engine.forward import PackedForward, Part, SoloForward
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence, Watcher
from glassformer.loading.loaded import LoadedModel
from glassformer.run.recording import Piece


def rebuild(
    loaded: LoadedModel, token_ids: Sequence[int], path: Sequence[Piece], watcher: Watcher
) -> Iterator[int]:
    """Run `token_ids` again in the pieces of `path`, under `watcher`; yields the positions done after each of them.

    A path that does not lead through all of them is left for one piece.
    """
    kept = Kept(watcher)
    sequence = TokenSequence(loaded, GenerationRequest([*token_ids], max_new_tokens=0), watcher=kept)
    solo = SoloForward(loaded, sequence) if loaded.packing_fault is not None else None
    packed, store = PackedForward(loaded), KeyValueStore()
    company = Company(loaded, packed)
    for piece in path if leads_through(path, len(token_ids)) else whole(loaded, len(token_ids)):
        # What is pending is what the next forward computes.
        sequence.ids = [*token_ids[: piece.stop], *[0] * piece.dropped]
        kept.dropped = piece.dropped
        logits: Tensor | Exception | None
        with computing_as(piece, loaded):
            if solo is not None:
                logits = solo.run()
            else:
                own = Part(sequence, piece.stop + piece.dropped - piece.start)
                before, after = company.stand_in(piece, like=store)
                stores = {**company.stores, sequence: store}
                logits = packed.run([*before, own, *after], stores)[len(before)]
        if isinstance(logits, Exception):
            raise logits
        sequence.seen = piece.stop
        yield piece.stop


class Kept:
    """A watcher that does not see the last `dropped` rows of each forward."""

    is_alone = False

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.dropped = 0

    def wanted(self, count: int) -> frozenset[str]:
        return frozenset()

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        return self._watcher.watch(slice(rows.start, rows.stop - self.dropped), start, stop - self.dropped)

    def see(self, capture: Capture | None, rows: slice, logits: Tensor) -> None:
        """Nobody is told of rows that were told of before."""

    def adopt(self, other: object, count: int) -> bool:
        return False


class Company:
    """Texts that nobody reads, in the place of those that shared a run's forwards."""

    def __init__(self, loaded: LoadedModel, packed: PackedForward) -> None:
        self._loaded = loaded
        self._packed = packed
        # Those that attend together with the run, each with all positions but the one that it writes next.
        self._together: list[TokenSequence] = []
        self.stores: dict[TokenSequence, KeyValueStore] = {}

    def stand_in(self, piece: Piece, *, like: KeyValueStore) -> tuple[list[Part], list[Part]]:
        """The parts before and after the run's in the forward of `piece`; `like` has the run's own keys and values."""
        self._gather(max(0, piece.together - 1), piece.longest - 1, like)
        self.stores = {sequence: self.stores[sequence] for sequence in self._together}
        singles = [Part(sequence, 1) for sequence in self._together]
        before, after = singles[: piece.before], singles[piece.before :]
        return (
            [*before, *self._fill(piece.before - len(before))],
            [*after, *self._fill(piece.after - len(after))],
        )

    def _gather(self, count: int, positions: int, like: KeyValueStore) -> None:
        """Have `count` texts of so many positions attend together."""
        stay = [sequence for sequence in self._together if sequence.seen == positions][:count]
        for sequence in self._together:
            if sequence not in stay:
                self._packed.release(self.stores[sequence], 0)
        for _ in range(count - len(stay)):
            store = KeyValueStore()
            store.calls = [(pad(keys, positions), pad(values, positions)) for keys, values in like.calls]
            sequence = self._make(self._loaded.context)
            sequence.seen = positions
            self.stores[sequence] = store
            stay.append(sequence)
        self._together = stay

    def _fill(self, count: int) -> list[Part]:
        """So many rows of texts that are read from their beginning."""
        parts = []
        for first in range(0, count, self._loaded.context):
            rows = min(self._loaded.context, count - first)
            parts.append(Part(self._make(rows), rows))
            self.stores[parts[-1].sequence] = KeyValueStore()
        return parts

    def _make(self, count: int) -> TokenSequence:
        return TokenSequence(self._loaded, GenerationRequest([0] * count, max_new_tokens=0))


def pad(buffer: Tensor, positions: int) -> Tensor:
    """Zeros like a buffer [1, kv_head, capacity, d_head] of so many positions."""
    return buffer.new_zeros(1, buffer.shape[1], positions, buffer.shape[3])


def leads_through(path: Sequence[Piece], count: int) -> bool:
    """Whether the pieces of a path join up to `count` positions."""
    ends = [piece.stop for piece in path]
    return [piece.start for piece in path] == [0, *ends[:-1]] and ends[-1:] == [count]


def whole(loaded: LoadedModel, count: int) -> list[Piece]:
    return [Piece(0, count, is_quick=is_quickened(loaded.model))]


@contextmanager
def computing_as(piece: Piece, loaded: LoadedModel) -> Iterator[None]:
    """Let a piece be computed as then: by as many threads, and with the products that the model had.

    It finds quicker ones some time after it is loaded.
    """
    rows = piece.before + piece.stop - piece.start + piece.after
    with ExitStack() as stack:
        stack.enter_context(loaded.lock.running(rows, is_step=False))
        if piece.threads:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(piece.threads)
        if not piece.is_quick and is_quickened(loaded.model):
            stack.enter_context(own_products(loaded.model))
        if piece.is_watched:
            stack.enter_context(watching(ignore))
        yield


def ignore(_: object) -> None:
    """Hears of attention, and does nothing: code that is compiled for those who look at nothing is not used then."""
