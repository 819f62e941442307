"""The climb: from where a part is taken out of one position, on through the blocks that are left, to the last residual.

Exact, since nothing but that position can change. One row a part; a row joins at the block whose part it is without,
from what the recording holds there, and climbs on beside the others through the model's own blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from glassformer.capture.frame import Frame
from glassformer.capture.rerun import rerun_tail
from glassformer.compute.hiding import Hidden, hiding, shut
from glassformer.compute.packed_row import computing_row
from glassformer.compute.shared_past import SharedPast
from glassformer.explain.lens import LENS_CELLS
from glassformer.protocol.messages import Intervention
from glassformer.reading.named_part import Part
from glassformer.reading.recorded_text import BlockPast, RecordedText
from glassformer.reading.switch import Cut, switched_off
from glassformer.run.intervention import applied, change_input, inside_block


@dataclass(frozen=True)
class Trial:
    """A course of what happens at the position: without `parts`; with none, as it was."""

    parts: tuple[Part, ...] = ()

    @cached_property
    def hidden(self) -> list[int]:
        """The positions of the words that are hidden."""
        return [part.number or 0 for part in self.parts if part.kind == "token"]

    @cached_property
    def blocks(self) -> frozenset[int]:
        """The blocks of which something is off in it."""
        return frozenset(part.block for part in self.parts if part.kind != "token")

    def find_cuts(self, row: int, block: int) -> list[Cut]:
        """What of a block is off in it, where it stands at `row`."""
        if block not in self.blocks:
            return []
        return [(row, part) for part in self.parts if part.kind != "token" and part.block == block]

    @property
    def start(self) -> int:
        """The first block in which it differs."""
        return min((0 if part.kind == "token" else part.block for part in self.parts), default=0)


Join = Callable[[int, BlockPast], Sequence[Trial]]
"""Given a block and its past, the trials that begin there."""
See = Callable[[int, Tensor], None]
"""Told of the rows at each boundary after a block, [trial, d_model]."""


class Climb(Protocol):
    """A way of taking rows through a block."""

    text: RecordedText
    needs_keys: bool

    def advance(self, block: int, stream: Tensor, trials: Sequence[Trial], past: BlockPast) -> Tensor:
        """What a block makes of the rows, [trial, d_model], in its own format."""

    def finish(self, stream: Tensor) -> Tensor:
        """The logits [trial, vocab] of what the last block left."""


def climb(way: Climb, first: int, join: Join, see: See | None = None) -> tuple[list[Trial], Tensor]:
    """Take trials from block `first` to the end; all of them and their last residuals, [trial, d_model] in float32.

    The model's lock is let go between blocks, of rows that climb one by one between those too. Raises
    UnknownTrace where the run is deleted meanwhile, and NobodyWaits.
    """
    text = way.text
    structure = text.structure
    here = at_position(text.interventions, text.pos)
    trials: list[Trial] = []
    stream = text.row(first)[:0]
    for block in range(first, text.block_count):
        text.go_on()
        with structure.lock.running(text.pos + 1, "climb", is_step=False), torch.inference_mode():
            past = text.read_past(block, keys=way.needs_keys)
            joining = join(block, past)
            trials += joining
            stream = torch.cat([stream, text.row(block).expand(len(joining), -1)])
        if trials:
            left = way.advance(block, stream, trials, past)
            with torch.inference_mode():
                stream = change_input(structure, here, block + 1, left).float()
        if see is not None:
            see(block + 1, stream)
    return trials, stream


def finish(way: Climb, stream: Tensor) -> Iterator[Tensor]:
    """The logits of last residuals [row, d_model], some rows at a time; the model's lock is let go in between.

    Nothing for no rows, which a model need not be able to run.
    """
    loaded = way.text.loaded
    # No more rows than the model has positions: it looks up as many.
    size = max(1, min(LENS_CELLS // loaded.vocab, loaded.context))
    for rows in torch.split(stream, size) if len(stream) else ():
        with loaded.lock:
            logits = way.finish(rows)
        yield logits


class PackedClimb:
    """All rows in one packed row over the keys and values of the positions before."""

    needs_keys = True

    def __init__(self, text: RecordedText) -> None:
        self.text = text
        self._row = SharedPast(text.pos)
        ids = text.token_ids[text.pos :]
        with computing_row(self._row):
            # One row for all: they share token and position.
            self._frame = Frame(
                text.structure,
                ids,
                position_ids=torch.tensor([[text.pos]], device=ids.device),
                attention_mask=torch.ones(1, 1, dtype=torch.long, device=ids.device),
            )

    def advance(self, block: int, stream: Tensor, trials: Sequence[Trial], past: BlockPast) -> Tensor:
        text = self.text
        cuts = [cut for row, trial in enumerate(trials) for cut in trial.find_cuts(row, block)]
        inside = at_position(inside_block(text.interventions, block), text.pos)
        self._row.enter(past.keys_values, self._mask_hidden(trials))
        with (
            text.structure.lock.running(len(trials), "climb", is_step=False),
            torch.inference_mode(),
            computing_row(self._row),
            applied(text.structure, inside, 0, len(trials)),
            switched_off(text.structure, block, cuts, past, mean=text.off == "mean"),
        ):
            return self._frame.run(block, stream)

    def finish(self, stream: Tensor) -> Tensor:
        # In the same row, so that products for many rows may be the quick ones of packed steps.
        with computing_row(self._row):
            return rerun_tail(self.text.structure, stream)

    def _mask_hidden(self, trials: Sequence[Trial]) -> Tensor | None:
        places = [(row, key) for row, trial in enumerate(trials) for key in trial.hidden]
        if not places:
            return None
        hidden = torch.zeros(len(trials), self.text.pos, dtype=torch.bool)
        hidden[tuple(torch.tensor(places).t())] = True
        return hidden.to(self.text.loaded.device)


class WholeClimb:
    """A row at a time, among the recorded rows of the whole text: for models whose rows cannot share a forward."""

    needs_keys = False

    def __init__(self, text: RecordedText) -> None:
        self.text = text

    def advance(self, block: int, stream: Tensor, trials: Sequence[Trial], past: BlockPast) -> Tensor:
        return torch.cat(
            [self._run(block, row, trial, past) for row, trial in zip(stream, trials, strict=True)]
        )

    def finish(self, stream: Tensor) -> Tensor:
        return rerun_tail(self.text.structure, stream)

    def _run(self, block: int, row: Tensor, trial: Trial, past: BlockPast) -> Tensor:
        text = self.text
        text.go_on()
        changed = text.residual(block).clone()
        changed[text.pos] = row
        cuts = trial.find_cuts(text.pos, block)
        with (
            text.structure.lock.running(len(changed), "climb", is_step=False),
            torch.inference_mode(),
        ):
            return run_whole(text, block, changed, trial.hidden, cuts, past)[text.pos :]


def run_whole(
    text: RecordedText, block: int, stream: Tensor, keys: Sequence[int], cuts: Sequence[Cut], past: BlockPast
) -> Tensor:
    """What a block makes of a whole text, [pos, d_model], whose last row does not see `keys`, without `cuts`.

    The caller holds the lock. Raises CannotHide where the block is handed no mask.
    """
    changed: dict[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(text.intervened(block))
        stack.enter_context(switched_off(text.structure, block, cuts, past, mean=text.off == "mean"))
        if keys:
            hidden = Hidden(text.pos, keys)
            if text.structure.untapped is None:
                stack.enter_context(hiding(hidden))
            else:
                mask = text.frame.given(block, "attention_mask")
                if not isinstance(mask, Tensor) or mask.dim() != 4 or set(mask.shape[2:]) != {text.pos + 1}:
                    raise CannotHide
                changed["attention_mask"] = shut(mask, hidden)
        return text.frame.run(block, stream, **changed)


class CannotHide(Exception):
    """A block is handed no mask in which a word could be hidden."""


def at_position(interventions: Sequence[Intervention], pos: int) -> list[Intervention]:
    """Those that change position `pos`, as they change each of some rows that all stand there."""
    found = []
    for given in interventions:
        chosen = given.index.get("pos")
        if isinstance(chosen, list):
            is_meant = pos in chosen
        else:
            is_meant = chosen is None or (chosen.start <= pos and (chosen.stop is None or pos < chosen.stop))
        if is_meant:
            index = {axis: places for axis, places in given.index.items() if axis != "pos"}
            found.append(given.model_copy(update={"index": index}))
    return found
