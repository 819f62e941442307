"""What the page would ask a server about a recording, as files: `data/` of an export but for its stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from glassformer.engine.distribution import describe
from glassformer.export.exportable import Exportable
from glassformer.reading.decision import Question
from glassformer.reading.effects import read_effects
from glassformer.reading.head_scores import score_heads
from glassformer.reading.reading import read
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state, describe_step

WeightDetail = Literal["auto", "none", "coarse", "full"]

# As many as the page's chart and skyline show.
LISTED_CANDIDATES = 40
# Positions whose readings an export holds: of a real model each is 200 kB, and takes a few forwards of the text.
MOST_READINGS = 16
RECORDING = "recording.json"


def write_answers(exportable: Exportable, folder: Path) -> None:
    """What the page would ask a server, as files in `folder`; but for `RECORDING`, which says what else is there."""
    run = exportable.run
    anatomy = run.loaded.anatomy
    assert anatomy is not None
    (folder / "anatomy.json").write_text(anatomy.model_dump_json(), encoding="utf-8")
    (folder / "heads.json").write_text(score_heads(run).model_dump_json(), encoding="utf-8")
    (folder / "rotary.json").write_text(json.dumps(collect_rotary(run)), encoding="utf-8")
    for name, describe_decision in (("readings", read), ("effects", read_effects)):
        (folder / name).mkdir()
        for pos in list_decisions(run):
            found = describe_decision(run, Question(pos, versus="mean")).model_dump_json(exclude_none=True)
            (folder / name / f"{pos}.json").write_text(found, encoding="utf-8")
    distributions = folder / "distributions"
    distributions.mkdir()
    for pos in range(run.positions):
        (distributions / f"{pos}.json").write_text(describe_position(exportable, pos), encoding="utf-8")


def write_recording(exportable: Exportable, folder: Path, weights: WeightDetail) -> None:
    """The recording's state and steps, and in what detail the weights are there."""
    run = exportable.run
    document = {
        "model": exportable.model.model_dump(mode="json"),
        "prompt": run.prompt,
        "recording": describe_state(run, tokens=run.tell_tokens(len(run.token_ids))).model_dump(mode="json"),
        "steps": [describe_step(run.loaded, token).model_dump(mode="json") for token in run.steps],
        "weights": weights,
        "readings": list_decisions(run),
        "heads": True,
    }
    (folder / RECORDING).write_text(json.dumps(document), encoding="utf-8")


def list_decisions(run: Run) -> list[int]:
    """The positions at which the model wrote, or would: the last of them, as many as an export tells of.

    None for a model whose end is refused: it has no readings.
    """
    site = run.find_site("lm_head")
    if site is None or site.check.status == "refused":
        return []
    return [*range(max(run.prompt_count - 1, run.positions - MOST_READINGS), run.positions)]


def collect_rotary(run: Run) -> dict[str, Any]:
    """The tables by which each block turns queries and keys, [pos, width]."""
    assert run.loaded.anatomy is not None
    return describe_rotary([run.block_sites(block.index).rotary for block in run.loaded.anatomy.blocks])


def describe_rotary(rotary: Sequence[tuple[Tensor, Tensor] | None]) -> dict[str, Any]:
    """The cosine and sine tables of each block, [pos, width], where it has any; equal ones stand there once."""
    blocks: list[int | None] = []
    tables: list[dict[str, Any]] = []
    for each in rotary:
        if each is None:
            blocks.append(None)
            continue
        table = {"cos": each[0].tolist(), "sin": each[1].tolist()}
        if table not in tables:
            tables.append(table)
        blocks.append(tables.index(table))
    return {"blocks": blocks, "tables": tables}


def describe_position(exportable: Exportable, pos: int) -> str:
    """The distribution after one position as it was drawn from, in JSON."""
    run = exportable.run
    return describe(
        run.read_logits(pos),
        run.token_ids,
        run.sampling,
        loaded=run.loaded,
        pos=pos,
        prompt_count=run.prompt_count,
        limit=LISTED_CANDIDATES,
    ).model_dump_json()
