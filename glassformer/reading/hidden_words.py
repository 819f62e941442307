"""The words of a text that can be hidden from a position, and those that are tested."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from glassformer.compute.likeness import SHARES
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.reading import RefusedPiece
from glassformer.reading.climb import CannotHide, Climb, run_whole
from glassformer.reading.named_part import Part
from glassformer.reading.recorded_text import BlockPast, RecordedText

# Words tested of a long text.
MOST_WORDS = 64

# Why words cannot be hidden from the positions of these models; None where they can.
_faults: WeakKeyDictionary[LoadedModel, str | None] = WeakKeyDictionary()


def find_word_fault(way: Climb) -> str | None:
    """Why no word can be hidden from the position, a clause without its full stop; None where each can.

    Where rows can climb together they are known to see each other through attention alone. Else a block is tried, once
    for a model: with everything hidden, what was there before must make no difference.
    """
    text = way.text
    if way.needs_keys or not text.pos:
        return None
    if text.loaded not in _faults:
        tried = ((block, see_past_hiding(text, block)) for block in range(text.block_count))
        _faults[text.loaded] = next((f"{reason} (block {block})" for block, reason in tried if reason), None)
    return _faults[text.loaded]


def see_past_hiding(text: RecordedText, block: int) -> str | None:
    """How a block's last row sees those before it though all are hidden, a clause; None where it does not."""
    stream = text.residual(block)
    other = torch.cat([-stream[:-1], stream[-1:]])
    everything = range(text.pos)
    try:
        with text.structure.lock.running(len(stream), "block"), torch.inference_mode():
            one, two = (
                run_whole(text, block, rows, everything, (), BlockPast())[-1].float()
                for rows in (stream, other)
            )
    except CannotHide:
        return "it is handed no mask in which a word could be hidden"
    written = (one - stream[-1]).abs().max()
    allowed = SHARES.get(text.loaded.dtype, 5e-2) * written
    if bool((one - two).abs().max() <= allowed):
        return None
    return "what mixes positions is not attention alone, and no word can be hidden from it"


def choose_words(way: Climb) -> tuple[list[Part], RefusedPiece | None]:
    """The words before the position, in order, and what is left out: of more than `MOST_WORDS` all but those read most.

    How much a word is read is the sum of the position's attention weights on it, over all heads of all blocks; where
    those are not seen, the nearest words are taken.
    """
    text = way.text
    fault = find_word_fault(way)
    if fault is not None:
        return [], RefusedPiece(piece="effects", kind="token", reason=f"{fault[0].upper()}{fault[1:]}.")
    chosen, piece = list(range(text.pos)), None
    if text.pos > MOST_WORDS:
        reads = sum_reads(text)
        how = "nearest" if reads is None else "that it reads most"
        reads = torch.arange(text.pos) if reads is None else reads
        chosen = sorted(reads.argsort(descending=True, stable=True)[:MOST_WORDS].tolist())
        reason = f"Of the {text.pos} words before the position the {MOST_WORDS} {how} are tested."
        piece = RefusedPiece(piece="effects", kind="token", reason=reason)
    return [Part("token", number=pos) for pos in chosen], piece


def sum_reads(text: RecordedText) -> Tensor | None:
    """How much the position reads each one before it, [pos]; None where its attention is not seen."""
    total = torch.zeros(text.pos)
    for block in range(text.block_count):
        text.go_on()
        with text.structure.lock.running(text.pos + 1, "block"):
            reads = text.read_past(block, keys=True).reads
        if reads is None:
            return None
        total += reads.cpu()
    return total
