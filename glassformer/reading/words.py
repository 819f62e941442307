"""The words the model would write at each boundary of one position: one pass of the model's end for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer.capture.rerun import rerun_tail
from glassformer.compute.computing import computing
from glassformer.compute.overflow import advise
from glassformer.errors import ModelFailed
from glassformer.explain.lens import LENS_CELLS
from glassformer.protocol.reading import BoundaryWords, LikelyWord
from glassformer.reading.shorten import shorten

if TYPE_CHECKING:
    from glassformer.run.run import Run

TOP = 5


def read_logits(run: Run, stream: Tensor) -> Tensor:
    """What the model would make of each row [row, d_model] if it stopped there: logits [row, vocab] on its device.

    Raises ModelFailed where they are not numbers.
    """
    size = max(1, LENS_CELLS // run.loaded.vocab)
    parts = []
    for first in range(0, len(stream), size):
        with run.loaded.lock:
            parts.append(rerun_tail(run.loaded.structure, stream[first : first + size].to(run.loaded.device)))
    logits = torch.cat(parts)
    if not torch.isfinite(logits[-1].amax()):
        raise ModelFailed(f"The logits at this position are not numbers: {advise(run.loaded.dtype)}.")
    return logits


def describe_words(run: Run, logits: Tensor, token: int) -> list[BoundaryWords]:
    """The likeliest words at each boundary, and how likely `token` is there."""
    with torch.inference_mode(), computing(len(logits), "words", is_step=False):
        shares = logits.float().softmax(-1)
        best = [take_best(row) for row in shares]
        found = shorten(torch.stack([row[ids] for row, ids in zip(shares, best, strict=True)]))
        chosen = shorten(shares[:, token])
    return [
        BoundaryWords(
            boundary=boundary,
            tokens=[
                find_likely_word(run, token_id, probability)
                for token_id, probability in zip(ids.tolist(), probabilities, strict=True)
            ],
            chosen=own,
        )
        for boundary, (ids, probabilities, own) in enumerate(zip(best, found, chosen, strict=True))
    ]


def find_likely_word(run: Run, token_id: int, probability: float) -> LikelyWord:
    """A token with its text in the middle of a text, and how likely it is."""
    return LikelyWord(id=token_id, text=run.loaded.token(token_id).text, probability=probability)


def take_best(shares: Tensor, count: int = TOP) -> Tensor:
    """The likeliest ids, likeliest first; equally likely ones in the order of their ids."""
    least = shares.topk(min(count, len(shares))).values[-1]
    ids = (shares >= least).nonzero()[:, 0]
    return ids[shares[ids].sort(descending=True, stable=True).indices][:count]
