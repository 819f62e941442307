"""What is kept while a model runs: the residual stream entering each block and leaving the last one.

Memory: (blocks + 1) x positions x d_model in float32 (41 MB for 134M parameters at 1024 tokens), nothing quadratic.
A `Recording` watches forwards, packed ones too; live watchers get the newest rows of the sites they name in the same
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.compute.attention import find_watch
from glassformer.compute.linear import is_quickened
from glassformer.compute.packed_row import find_packing
from glassformer.errors import BadValue, ModelFailed
from glassformer.protocol.frames import encode_frame
from glassformer.run.witness import Witness
from glassformer.structure.structure import Structure

# Positions a new buffer holds; it doubles from there, so a step copies nothing most of the time.
FIRST_CAPACITY = 64

# Rows up to which a forward is shown live. A longer piece of a prompt is read from the recording afterwards: its
# attention patterns alone, heads x rows x keys for every block, would stall everybody.
SHOWN_ROWS = 16

# A buffer that is filled to no more than this is made smaller when its run is over: that takes a copy.
TRIMMED_SHARE = 0.9

# Recordings remembered that one begins with: texts that are drawn again and again would make an endless list.
MOST_ANCESTORS = 16

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """Live interest in some sites; `send` is called from the thread that runs the model."""

    addresses: tuple[str, ...]
    send: Send


class Piece(NamedTuple):
    """A forward that made rows: its first position, and the one after its last, with all that their bits depend on.

    `before` and `after` are the rows of others that stood on either side, whose number, not whose values, decides how
    a product is summed; `dropped` are rows of its own that came after, where it began with another's. `together` is how
    many texts attended in one operation, it among them, up to position `longest`; none where it attended alone.
    `threads` shared the work. `is_quick` says that products were quicker ones than the model's own, `is_watched` that
    somebody looked into attention.
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0
    dropped: int = 0
    together: int = 0
    longest: int = 0
    threads: int = 0
    is_quick: bool = False
    is_watched: bool = False


class Recording:
    """The residuals of one sequence, Float[Tensor, "block_and_end pos d_model"], growing as the model runs.

    `ancestors` are the recordings it begins with, nearest first: their ids, and how many positions are theirs.
    `rewritten` counts how often rows that were recorded already were replaced. `most_positions` is how many there will
    be at most, where that is known: then the buffer is made once. `path` are the forwards that made the rows;
    `rebuilt_difference` is by how much rows that were made again along it differ from those first recorded, None where
    none does.
    """

    is_alone = False

    def __init__(self, structure: Structure, trace_id: str, most_positions: int | None = None) -> None:
        self._structure: Structure | None = structure
        self._trace_id = trace_id
        self._most_positions = most_positions
        self._residuals: Tensor | None = None
        self._witness: Witness | None = None
        self._subscriptions: list[Subscription] = []
        self.ancestors: tuple[tuple[str, int], ...] = ()
        self.path: list[Piece] = []
        self.positions = 0
        self.rewritten = 0
        self.rebuilt_difference: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the residual buffer, and of what is kept of one that was given up."""
        residuals, witness = self._residuals, self._witness
        return (0 if residuals is None else residuals.nbytes) + (0 if witness is None else witness.nbytes)

    def residual(self, block: int, stop: int | None = None) -> Tensor:
        """What block `block` read at positions up to `stop`, [pos, d_model]; `block` = number of blocks: the end."""
        if self._residuals is None:
            raise BadValue("Nothing has been recorded yet.", field="pos")
        return self._residuals[block, : self.positions if stop is None else stop]

    def clear(self) -> None:
        """Give the memory up; the recording can be made again from its token ids."""
        held = self._residuals
        if held is not None and self.positions:
            self._witness = Witness(held[:, : self.positions])
        self._residuals = None

    def take_over(self, again: Recording) -> None:
        """Hold what another recording of the same tokens holds, and say how that differs from what was held before."""
        if self._residuals is not None:  # another was quicker
            return
        residuals, witness = again._residuals, self._witness
        if residuals is not None and witness is not None:
            found = witness.compare(residuals[:, : self.positions])
            if found.changed_rows:
                self.rebuilt_difference = max(self.rebuilt_difference or 0.0, found.largest_difference)
                self.ancestors = ()
                self.rewritten += 1
        self.path = list(again.path)
        self._residuals, self._witness = residuals, None

    def trim(self) -> None:
        """Give back what the buffer holds beyond the last position."""
        held = self._residuals
        if held is not None and self.positions and self.positions <= TRIMMED_SHARE * held.shape[1]:
            self._residuals = held[:, : self.positions].clone()

    def disown(self, run_id: str) -> None:
        """Say no more that the first rows are those of another recording, which has others now."""
        self.ancestors = tuple(one for one in self.ancestors if one[0] != run_id)

    def count_blocks(self) -> int | None:
        """How many blocks the recorded model has; None while nothing is known of it."""
        if self._residuals is not None:
            return len(self._residuals) - 1
        return None if self._witness is None else self._witness.boundaries - 1

    def bind(self, structure: Structure | None) -> None:
        """Listen to another loading of the same model from now on, or to none while it is not in memory."""
        self._structure = structure

    @property
    def is_held(self) -> bool:
        """Whether the residuals are in memory."""
        return self._residuals is not None or self.positions == 0

    # --- watching ----------------------------------------------------------------------------------

    def wanted(self, count: int) -> frozenset[str]:
        """Addresses that live watchers want of the next forward, of `count` rows."""
        if count > SHOWN_ROWS:
            return frozenset()
        return frozenset(address for one in list(self._subscriptions) for address in one.addresses)

    @contextmanager
    def watch(self, rows: slice, start: int, stop: int) -> Iterator[None]:
        """Record the forward run inside, whose rows `rows` are the positions `start` to `stop`.

        Positions that are recorded already are replaced: where a text outgrows its rotary embedding the model reads all
        of it anew (docs/decisions/0007), and what it made of it then is what later tokens see. Raises ModelFailed for
        a forward without those rows.
        """

        piece = Piece(start, stop)

        def take(first: int, residuals: Tensor) -> None:
            seen = residuals[:, rows]
            if seen.shape[1] != stop - start:
                raise ModelFailed(f"A forward of {residuals.shape[1]} rows cannot be recorded as {rows}.")
            nonlocal piece
            piece = describe_piece(start, stop, rows, residuals.shape[1])
            held = self._ensure(stop, residuals.shape[-1])
            held[first : first + len(residuals), start:stop] = seen

        replaces = start < self.positions
        assert self._structure is not None  # who runs a model holds it
        is_quick = is_quickened(self._structure.model)
        try:
            with self._structure.residuals.listening(take):
                yield
        finally:
            # After the rows: who hears of it reads again, and must not meet the old ones. A forward that fails midway
            # has replaced some.
            self.rewritten += replaces
        while self.path and self.path[-1].stop > start:
            self.path.pop()
        self.path.append(piece._replace(is_quick=is_quick))
        self.positions = max(self.positions, stop)

    def see(self, capture: Capture | None, rows: slice, logits: Tensor) -> None:
        """Send live watchers what the watched forward gave; `logits` [pos, vocab] are those of its last positions."""
        count = rows.stop - rows.start
        for subscription in list(self._subscriptions):
            frame: dict[str, np.ndarray[Any, Any]] = {}
            for address in subscription.addresses if count <= SHOWN_ROWS else ():
                value = None if capture is None else capture.read_rows(address, rows)
                if address == "lm_head" and len(logits) == count:
                    value = logits
                # Rows that are not this run's newest would be drawn as if they were.
                if value is not None and value.shape[1 if value.dim() == 3 else 0] == count:
                    frame[address] = to_numpy(value)
            first = self.positions - count
            subscription.send(encode_frame(self._trace_id, first, self.positions, frame))

    def subscribe(self, addresses: list[str], send: Send) -> Callable[[], None]:
        """Send the newest rows of `addresses` after each forward; returns the function that ends it."""
        subscription = Subscription(tuple(dict.fromkeys(addresses)), send)
        self._subscriptions.append(subscription)

        def unsubscribe() -> None:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

        return unsubscribe

    def adopt(self, other: object, count: int) -> bool:
        """Copy the first `count` positions of a recording of the same tokens; False where it does not hold them."""
        if not isinstance(other, Recording) or other.positions < count:
            return False
        residuals = other._residuals
        if residuals is None or self.positions:
            return False
        self._ensure(count, residuals.shape[-1])[:, :count] = residuals[:, :count]
        self.path = [cut(piece, count) for piece in other.path if piece.start < count]
        self.rebuilt_difference = other.rebuilt_difference
        further = ((ancestor, min(own, count)) for ancestor, own in other.ancestors)
        self.ancestors = ((other._trace_id, count), *further)[:MOST_ANCESTORS]
        self.positions = count
        return True

    def _ensure(self, positions: int, width: int) -> Tensor:
        """The buffer, grown to hold so many positions."""
        held = self._residuals
        if held is not None and held.shape[1] >= positions:
            return held
        doubled = max(FIRST_CAPACITY, 0 if held is None else 2 * held.shape[1])
        capacity = max(positions, doubled if self._most_positions is None else self._most_positions)
        assert self._structure is not None
        # Residuals leave the accelerator: its memory is for the model.
        grown = torch.empty(len(self._structure.blocks) + 1, capacity, width, dtype=torch.float32)
        if held is not None:
            grown[:, : held.shape[1]] = held
        self._residuals = grown
        return grown


def describe_piece(start: int, stop: int, rows: slice, count: int) -> Piece:
    """The forward that this thread runs now, of `count` rows, of which `rows` are the run's positions."""
    packed = find_packing()
    together = longest = 0
    for batch in () if packed is None else packed.batches:
        if any(span.rows.start == rows.start for span in batch.spans):
            together, longest = len(batch.spans), batch.longest
    return Piece(
        start,
        stop,
        rows.start,
        count - rows.stop,
        together=together,
        longest=longest,
        threads=torch.get_num_threads(),
        is_watched=find_watch() is not None,
    )


def cut(piece: Piece, stop: int) -> Piece:
    """A piece of which the rows from position `stop` on are another's."""
    surplus = max(0, piece.stop - stop)
    return piece._replace(stop=piece.stop - surplus, dropped=piece.dropped + surplus)


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as float32 on the host."""
    return tensor.detach().to("cpu", torch.float32).numpy()
