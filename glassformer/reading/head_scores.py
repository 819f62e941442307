"""All heads at a glance: by what a head may be told, as five means over its attention pattern on the recorded text.

- previous token: attention to the position before (Elhage et al. 2021, "A Mathematical Framework for Transformer
  Circuits"; Olsson et al. 2022, "In-context Learning and Induction Heads").
- first token: attention to position 0, where heads rest that have nothing to read (Xiao et al. 2023, "Efficient
  Streaming Language Models with Attention Sinks").
- induction: attention to the tokens that followed earlier occurrences of the current token, the prefix matching score
  of Olsson et al. 2022.
- duplicate: attention to those earlier occurrences themselves (Wang et al. 2022, "Interpretability in the Wild").
- entropy: of what a row reads, in bits, and as a share of the most there could be.

Positions that have nothing of the kind to read, or may not read it (a window), are left out of a mean. Patterns are
formed some rows at a time and given up again; other questions and steps come between the blocks. Costs each block's
forward once, and of long texts the patterns of the last `MOST_ROWS` positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer import waiting
from glassformer.compute.attention_call import compute_probabilities
from glassformer.compute.computing import computing
from glassformer.errors import BadValue, UnknownTrace
from glassformer.protocol.heads import BlockHeads, Heads, HeadScores, RefusedHeads, ScoredPositions
from glassformer.reading.block_range import parse_blocks
from glassformer.run.materialise import PATTERN_CELLS, BlockSites, form_pattern
from glassformer.structure.role import Refusal

if TYPE_CHECKING:
    from glassformer.run.run import Run

# Rows whose pattern is read: all of a short text, the last of a long one.
MOST_ROWS = 512
# What is kept of a head.
HEAD_BYTES = 512
# A row that gives less than this to no token rounds to one; more is a sink.
LEAST_REST = 1e-3

READ_KINDS = ("previous", "first", "induction", "duplicate")


@dataclass(frozen=True, slots=True)
class KeptHeads:
    """The heads of one block, kept with their run."""

    found: BlockHeads | RefusedHeads

    @property
    def nbytes(self) -> int:
        """About what they take."""
        return HEAD_BYTES * (1 + (len(self.found.heads) if isinstance(self.found, BlockHeads) else 0))


def score_heads(run: Run, blocks: str | None = None) -> Heads:
    """The scores of all heads, or of those in `blocks` (`3`, or first and last as `0-9`).

    Raises BadValue for blocks that the model does not have, and for a run that nothing has been recorded of, and
    UnknownTrace where the run is deleted meanwhile.
    """
    count = len(run.loaded.structure.blocks)
    chosen = range(count) if blocks is None else parse_blocks(blocks, count)
    while True:
        rewritten, stop = run.recording.rewritten, run.positions
        if stop == 0:
            raise BadValue("Nothing has been recorded yet.", field="trace_id")
        found = [find_block_scores(run, block, stop, rewritten) for block in chosen]
        # Rows may be replaced between two blocks: some of each would be nobody's.
        if run.recording.rewritten == rewritten:
            break
    return Heads(
        start=max(0, stop - MOST_ROWS),
        stop=stop,
        blocks=[one for one in found if isinstance(one, BlockHeads)],
        refused=[one for one in found if isinstance(one, RefusedHeads)],
    )


def find_block_scores(run: Run, block: int, stop: int, rewritten: int) -> BlockHeads | RefusedHeads:
    """The scores of a block's heads over the first `stop` positions, made if they are not at hand."""
    question = "heads", block, stop
    known = run.find_answer(question)
    if isinstance(known, KeptHeads):
        return known.found
    if run.is_forgotten:
        raise UnknownTrace(run.id)
    found = score_block(run, block, stop)
    run.keep_answer(question, KeptHeads(found), rewritten)
    return found


def score_block(run: Run, block: int, stop: int) -> BlockHeads | RefusedHeads:
    """The scores of a block's heads over the first `stop` positions."""
    reason = find_refusal(run, block)
    if reason is not None:
        return RefusedHeads(block=block, reason=reason)
    token_ids = torch.tensor(run.token_ids[:stop])
    sums = ScoreSums()
    sites = run.pattern_sites(block)
    heads = run.require_site(f"attn_probs.{block}").shape[0] or 1
    with torch.inference_mode():
        for rows in split_rows(max(0, stop - MOST_ROWS), stop, heads * stop):
            waiting.go_on()
            with computing(rows.stop - rows.start, "heads", is_step=False):
                sums.add(*form_rows(sites, block, slice(0, heads), rows, stop), rows, token_ids)
    return sums.describe(block)


def find_refusal(run: Run, block: int) -> str | None:
    """Why a block's patterns cannot be shown; None where they can."""
    site = run.find_site(f"attn_probs.{block}")
    if site is None:
        attention = run.loaded.structure.attention(block)
        return attention.reason if isinstance(attention, Refusal) else "its attention gives no pattern"
    return (site.check.reason or "its equation does not hold") if site.check.status == "refused" else None


def split_rows(start: int, stop: int, row_cells: int) -> Iterator[slice]:
    """Runs of rows whose cells are formed at once."""
    size = max(1, PATTERN_CELLS // row_cells)
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def form_rows(sites: BlockSites, block: int, heads: slice, rows: slice, stop: int) -> tuple[Tensor, Tensor]:
    """Probabilities [head, query, key] of some rows, and which keys their heads may read, Bool[query, key].

    Where the model shows its patterns alone, a key counts that some head reads.
    """
    where = heads, rows, slice(0, stop)
    if sites.call is None:
        pattern = sites.values[f"attn_probs.{block}"][where]
        return pattern, (pattern != 0).any(0)
    scores = form_pattern(sites.call, "attn_scores", where)
    return compute_probabilities(scores, sites.call.sinks), (scores > -torch.inf).all(0)


def find_targets(token_ids: Tensor, rows: slice) -> Tensor:
    """What each kind of head reads, Bool[kind, query, key] in the order of `READ_KINDS`."""
    query, key = torch.arange(rows.start, rows.stop)[:, None], torch.arange(len(token_ids))[None]
    earlier = key < query
    same = (token_ids[rows, None] == token_ids[None]) & earlier
    after_same = torch.zeros_like(same)
    after_same[:, 1:] = same[:, :-1]
    # The token itself is no answer where it follows its own like.
    return torch.stack([key == query - 1, earlier & (key == 0), after_same & earlier, same])


class ScoreSums:
    """The scores of one block's heads while its rows come."""

    def __init__(self) -> None:
        self._attention: Tensor = torch.zeros(())
        self._entropy: Tensor = torch.zeros(())
        self._counts = torch.zeros(len(READ_KINDS) + 1, dtype=torch.long)

    def add(self, pattern: Tensor, may: Tensor, rows: slice, token_ids: Tensor) -> None:
        """Take some rows: `pattern` [head, query, key], `may` Bool[query, key]."""
        targets = find_targets(token_ids, rows) & may
        attention = pattern.flatten(1) @ targets.flatten(1).T.to(pattern.dtype)
        entropy, is_counted = measure_entropy(pattern, may.sum(-1))
        self._attention = self._attention + attention.double()
        self._entropy = self._entropy + entropy
        self._counts += torch.cat([targets.any(-1).sum(-1), is_counted.sum()[None]])

    def describe(self, block: int) -> BlockHeads:
        """The means so far."""
        counts = self._counts.tolist()
        over = dict(zip((*READ_KINDS, "entropy"), counts, strict=True))
        sums = torch.cat([self._attention, self._entropy], dim=-1)
        means = sums / torch.tensor([*counts, counts[-1]])
        names = (*READ_KINDS, "entropy_bits", "entropy_share")
        return BlockHeads(
            block=block,
            over=ScoredPositions(**over),
            heads=[
                HeadScores(head=head, **{name: tell(value) for name, value in zip(names, row, strict=True)})
                for head, row in enumerate(means.tolist())
            ],
        )


def measure_entropy(pattern: Tensor, key_counts: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over rows of their entropy in bits and as a share of the most, Float64[head, 2]; which rows count.

    `key_counts` [query] is how many keys each row may read: one leaves nothing to choose. What a row gives to no token
    (a sink) counts as one key more. Not a number for a head whose rows are no shares.
    """
    rest = 1 - pattern.sum(-1)
    is_share = (rest > -LEAST_REST) & (pattern >= 0).all(-1)
    rest = torch.where(rest > LEAST_REST, rest, 0)
    nats = torch.special.entr(pattern).sum(-1) + torch.special.entr(rest)
    bits = torch.where(is_share, nats / math.log(2), torch.nan).double()
    most = torch.log2(key_counts + (rest > 0))
    is_counted = key_counts > 1
    columns = torch.stack([bits, bits / most], dim=-1)
    return columns[:, is_counted].sum(1), is_counted


def tell(value: float) -> float | None:
    """A mean as a message has it: six digits, and nothing where there is no number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
