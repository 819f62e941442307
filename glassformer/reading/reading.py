"""The reading: what mattered for one decision of a run, as sums and words, from what was recorded.

Made in steps between which others have the model: a few blocks at a time, then the model's end once for all boundaries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from glassformer.compute.computing import computing
from glassformer.protocol.reading import Reading, StreamSize
from glassformer.reading.decision import Decision, Question, decide, find_word
from glassformer.reading.kept import keep
from glassformer.reading.parts import add_up_parts
from glassformer.reading.position import PositionRows, read_position
from glassformer.reading.shorten import shorten
from glassformer.reading.words import describe_words, read_logits

if TYPE_CHECKING:
    from glassformer.run.run import Run


def read(run: Run, question: Question | None = None) -> Reading:
    """The reading of a run for one decision, kept for a while. The same object may be given again: look at it only.

    Raises BadValue, naming the field, for what the run does not have, and UnknownAddress for a model whose end cannot
    be run alone.
    """
    return read_decision(run, decide_reading(run, question or Question()))


def decide_reading(run: Run, question: Question) -> Decision:
    """The decision that a question is about, of a model whose end can be run alone. Raises as `read`."""
    run.require_site("lm_head")
    return decide(run, question)


def read_decision(run: Run, decision: Decision) -> Reading:
    """The reading for a decision, kept for a while."""
    with run.holding_rows():
        return keep(run, decision, lambda: make(run, decision))


def make(run: Run, decision: Decision) -> Reading:
    """The reading for a decision. What does not depend on the word is kept by itself."""
    place = ("rows", decision.position)
    with run.answering(place):
        rows = run.find_answer(place)
        if not isinstance(rows, PositionRows):
            rewritten = run.recording.rewritten
            rows = read_position(run, decision.position)
            run.keep_answer(place, rows, rewritten)
    logits = read_logits(run, rows.stream)
    last = logits[-1].cpu()
    token = decision.settle(last)
    with torch.inference_mode(), computing(len(rows.blocks), "reading", is_step=False):
        parts = add_up_parts(run, rows, token, decision.versus)
    logit = decision.measure(last, token)
    listed = parts.list()
    return Reading(
        position=decision.position,
        token=find_word(run, token),
        versus=decision.versus,
        logit=logit,
        probability=float(last.float().softmax(-1)[token]),
        lens=describe_words(run, logits, token),
        parts=listed,
        remainder=logit - sum(part.value for part in listed),
        attention=[head for block in rows.blocks for head in block.heads],
        stream=measure_stream(run, rows),
        refused=[*parts.refused, *(piece for block in rows.blocks for piece in block.refused)],
    )


def measure_stream(run: Run, rows: PositionRows) -> list[StreamSize]:
    """The root mean square of the stream at every boundary and position up to the reading's."""
    stop = rows.position + 1
    return [
        StreamSize(
            boundary=boundary,
            rms=shorten(run.recording.residual(boundary, stop).pow(2).mean(-1).sqrt()),
        )
        for boundary in range(len(rows.stream))
    ]
