"""All heads at a glance as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas

from glassformer.reading.head_scores import score_heads

if TYPE_CHECKING:
    from glassformer.run.run import Run


def heads_frame(live: Run) -> pandas.DataFrame:
    """A row for each head, by block and head; a score that the text gives no position to tell by is NaN.

    `attrs` has the rows that the means are over (`start`, `stop`, and how many for each score by block) and the blocks
    that are refused, with the reason.
    """
    found = score_heads(live)
    rows = [{"block": one.block, **head.model_dump()} for one in found.blocks for head in one.heads]
    names = ["block", "head", "previous", "first", "induction", "duplicate", "entropy_bits", "entropy_share"]
    frame = pandas.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:], float))
    frame = frame.set_index(names[:2])
    frame.attrs = {
        "model_id": live.loaded.model_id,
        "start": found.start,
        "stop": found.stop,
        "over": {one.block: one.over.model_dump() for one in found.blocks},
        "refused": {one.block: one.reason for one in found.refused},
    }
    return frame
