"""What each word of the text and each part of the model is worth to one decision: each taken out, and the rest run.

Exact: what follows is the model's own (`reading/climb.py`). Costs one climb of all parts asked for, a row each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glassformer.errors import BadValue
from glassformer.protocol.reading import Effect, EffectBase, Effects, Off, RefusedPiece
from glassformer.reading.block_range import parse_blocks
from glassformer.reading.climb import Trial, climb, finish
from glassformer.reading.decision import Decision, Question, decide, find_word
from glassformer.reading.hidden_words import choose_words
from glassformer.reading.kept import keep
from glassformer.reading.named_part import Part, list_parts
from glassformer.reading.recorded_text import BlockPast, RecordedText
from glassformer.reading.verdict import Verdict, judge
from glassformer.reading.way import choose_way, find_change
from glassformer.run.run import Run

# Rows that climb together: as many hold 60 MiB of an MLP of 14,336 features.
MOST_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whether words are to be tested, and the blocks whose parts are, first and last."""

    words: bool
    blocks: tuple[int, int] | None


def read_effects(
    run: Run, question: Question | None = None, *, off: Off = "zero", blocks: str | None = None
) -> Effects:
    """The effects on one decision, words first, then parts from the last block up.

    `blocks` is `none` (the words alone), `20-29` or `7` (parts of those blocks alone), or None (everything). Raises
    BadValue, naming the field, for what is not there. The rows of the run are in memory meanwhile (`Run.looking`).
    """
    decision = decide(run, question or Question())
    wanted = parse_wanted(blocks, len(run.loaded.structure.blocks))
    check_off(off, decision.position)
    with run.holding_rows():
        return keep(run, ("effects", decision, off, wanted), lambda: make_effects(run, decision, off, wanted))


def parse_wanted(blocks: str | None, count: int) -> Wanted:
    """What `blocks` asks for, of a model with `count` of them. Raises BadValue."""
    if blocks is None:
        return Wanted(words=True, blocks=(0, count - 1))
    if blocks == "none":
        return Wanted(words=True, blocks=None)
    named = parse_blocks(blocks, count, besides="none, ")
    return Wanted(words=False, blocks=(named[0], named[-1]))


def check_off(off: Off, pos: int) -> None:
    """Raise BadValue where there is nothing to take a mean of."""
    if off == "mean" and pos < 2:
        raise BadValue(
            "off=mean takes the mean of the positions before but the first, and there is none; use off=zero.",
            field="off",
        )


def make_effects(run: Run, decision: Decision, off: Off, wanted: Wanted) -> Effects:
    """The effects on a decision, each computed."""
    logits = run.read_logits(decision.position)
    token = decision.settle(logits)
    text = RecordedText(run, decision.position, off)
    way = choose_way(text, logits)
    words, left_out = choose_words(way) if wanted.words else ([], None)
    refused = [] if left_out is None else [left_out]
    found: list[tuple[Part, Verdict]] = []
    for group in plan(run, wanted, words):
        trials, stream = climb(way, group.first, group.join)
        fault = find_change(way, stream[:1], logits)
        if fault is not None:
            refused = [RefusedPiece(piece="effects", reason=f"{fault[0].upper()}{fault[1:]}.")]
            found = []
            break
        verdicts = [
            verdict for tails in finish(way, stream[1:]) for verdict in judge(tails, token, decision.versus)
        ]
        found += [(trial.parts[0], verdict) for trial, verdict in zip(trials[1:], verdicts, strict=True)]
        refused += group.refused
    found.sort(key=lambda one: (one[0].kind != "token", -one[0].block))
    base = judge(logits[None], token, decision.versus)[0]
    return Effects(
        position=decision.position,
        token=find_word(run, token),
        versus=decision.versus,
        off=off,
        blocks=wanted.blocks,
        base=EffectBase(
            probability=base.probability, margin=base.margin, token=find_word(run, base.likeliest)
        ),
        parts=[describe_effect(run, part, verdict) for part, verdict in found],
        refused=refused,
    )


def describe_effect(run: Run, part: Part, verdict: Verdict) -> Effect:
    is_word = part.kind == "token"
    return Effect(
        kind=part.kind,
        position=part.number if is_word else None,
        block=None if is_word else part.block,
        head=part.number if part.kind == "head" else None,
        expert=part.number if part.kind == "expert" else None,
        probability=verdict.probability,
        margin=verdict.margin,
        token=find_word(run, verdict.likeliest),
    )


class Group:
    """Parts that climb together: those of some blocks, and words. The first trial is the text as it was."""

    def __init__(self, run: Run, blocks: range, words: Sequence[Part]) -> None:
        self._run, self._blocks, self._words = run, blocks, words
        self.first = 0 if words or not blocks else blocks[0]
        self.refused: list[RefusedPiece] = []

    def join(self, block: int, past: BlockPast) -> list[Trial]:
        """The trials that begin in a block."""
        trials = [Trial(), *(Trial((word,)) for word in self._words)] if block == self.first else []
        if block not in self._blocks:
            return trials
        parts, refused = list_parts(self._run, block)
        self.refused += [
            RefusedPiece(piece="effects", kind=kind, block=block, reason=reason)
            for kind, reason in refused.items()
        ]
        parts += [Part("expert", block, expert) for expert in past.experts]
        return [*trials, *(Trial((part,)) for part in parts)]


def plan(run: Run, wanted: Wanted, words: Sequence[Part]) -> Iterator[Group]:
    """What is asked for, in groups of about `MOST_ROWS` rows, from the last block up; words with the first block."""
    if wanted.blocks is None:
        yield Group(run, range(0), words)
        return
    first, last = wanted.blocks
    rows, stop = 0, last + 1
    for block in range(last, first - 1, -1):
        count = len(list_parts(run, block)[0])
        if rows and rows + count > MOST_ROWS:
            yield Group(run, range(block + 1, stop), ())
            rows, stop = 0, block + 1
        rows += count
    yield Group(run, range(first, stop), words)
