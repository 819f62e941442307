"""Making residuals again that were given up, along the path on which they were made.

The same forwards through the same keys and values, the prompt in its pieces and then token by token, give the same rows
to the bit, as long as the model multiplies as it did then and the run had its forwards for itself; one whole forward
gives others in 16 bits, more than half of all cells. It takes as long as the first time. Each forward takes the model's
lock for itself, so that others' steps come in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from glassformer.compute.key_value import KeyValueStore
from glassformer.engine.forward import PackedForward, Part, SoloForward
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence, Watcher
from glassformer.loading.loaded import LoadedModel


def rebuild(
    loaded: LoadedModel, token_ids: Sequence[int], path: Sequence[tuple[int, int]], watcher: Watcher
) -> Iterator[int]:
    """Run `token_ids` again in the pieces of `path`, under `watcher`; yields the positions done after each of them.

    What the path leaves out is run as one piece.
    """
    sequence = TokenSequence(loaded, GenerationRequest([*token_ids], max_new_tokens=0), watcher=watcher)
    solo = SoloForward(loaded, sequence) if loaded.packing_fault is not None else None
    packed, stores = PackedForward(loaded), {sequence: KeyValueStore()}
    for stop in list_stops(path, len(token_ids)):
        # What is pending is what the next forward computes.
        sequence.ids = [*token_ids[:stop]]
        logits: Tensor | Exception | None
        if solo is not None:
            logits = solo.run()
        else:
            (logits,) = packed.run([Part(sequence, sequence.pending)], stores)
        if isinstance(logits, Exception):
            raise logits
        yield stop


def list_stops(path: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Where the pieces of a path end, if they join up to `count` positions; one piece otherwise."""
    ends = [stop for _, stop in path]
    begins = [start for start, _ in path]
    return ends if begins == [0, *ends[:-1]] and ends[-1:] == [count] else [count]
