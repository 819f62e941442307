"""One decision with some parts switched off together: what the model would say at each depth then, and at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glassformer.errors import BadValue
from glassformer.protocol.reading import MOST_PARTS, Off, Without
from glassformer.reading.climb import Trial, climb, finish
from glassformer.reading.decision import Decision, Question, decide, find_word
from glassformer.reading.effects import check_off
from glassformer.reading.hidden_words import find_word_fault
from glassformer.reading.kept import keep
from glassformer.reading.named_part import Part, find_fault, parse_part
from glassformer.reading.recorded_text import RecordedText
from glassformer.reading.verdict import judge, round_off
from glassformer.reading.way import choose_way, find_change
from glassformer.reading.words import describe_words, find_likely_word, take_best
from glassformer.run.run import Run

END_WORDS = 20


def read_without(
    run: Run, names: Sequence[str], question: Question | None = None, *, off: Off = "zero"
) -> Without:
    """A decision without the parts of those names.

    Raises BadValue, naming the field, for what is not there or cannot be switched off.
    """
    decision = decide(run, question or Question())
    check_off(off, decision.position)
    parts = check_parts(run, names, decision.position)
    with run.holding_rows():
        return keep(run, ("without", decision, off, parts), lambda: run_without(run, decision, parts, off))


def check_parts(run: Run, names: Sequence[str], pos: int) -> tuple[Part, ...]:
    """The parts of those names, each once. Raises BadValue."""
    if not 1 <= len(names) <= MOST_PARTS:
        raise BadValue(f"part takes 1 to {MOST_PARTS} parts at a time, and not {len(names)}.", field="part")
    parts = tuple(dict.fromkeys(parse_part(name) for name in names))
    for part in parts:
        if part.kind == "token":
            fault = (
                None
                if (part.number or 0) < pos
                else f"only words before position {pos} can be hidden from it"
            )
        else:
            fault = find_fault(run, part)
        if fault is not None:
            raise BadValue(f"{part.name} cannot be switched off: {fault}.", field="part")
    return parts


def run_without(run: Run, decision: Decision, parts: tuple[Part, ...], off: Off) -> Without:
    """The decision without parts, computed. Raises BadValue where the model does not allow it."""
    recorded = run.read_logits(decision.position)
    token = decision.settle(recorded)
    text = RecordedText(run, decision.position, off)
    way = choose_way(text, recorded)
    changed = Trial(parts)
    if changed.hidden and (fault := find_word_fault(way)) is not None:
        raise BadValue(f"No word can be hidden here: {fault}.", field="part")
    # What it reads up to where it differs is as recorded.
    boundaries: list[Tensor] = [text.row(block) for block in range(changed.start + 1)]
    _, stream = climb(
        way,
        changed.start,
        lambda block, _: [Trial(), changed] if block == changed.start else [],
        lambda _, rows: boundaries.append(rows[1:]),
    )
    fault = find_change(way, stream[:1], recorded)
    if fault is not None:
        raise BadValue(f"Nothing can be switched off in this model: {fault}.", field="part")
    logits = torch.cat(list(finish(way, torch.cat(boundaries))))
    shares = logits[-1].float().softmax(-1)
    return Without(
        position=decision.position,
        token=find_word(run, token),
        parts=[part.name for part in parts],
        off=off,
        probability=judge(logits[-1:], token, "none")[0].probability,
        lens=describe_words(run, logits, token),
        tokens=[
            find_likely_word(run, word, round_off(float(shares[word])))
            for word in take_best(shares, END_WORDS).tolist()
        ],
    )
