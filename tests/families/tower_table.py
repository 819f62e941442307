"""Writes docs/towers.md: python tests/families/tower_table.py (some minutes)."""

import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

from table import quote
from tower import WHOLE_FAMILIES, TowerRow, measure_tower

PAGE = Path(__file__).parents[2] / "docs" / "towers.md"
CAUSAL = (PAGE.parent / "families.md").read_text(encoding="utf-8")


def render(rows: list[TowerRow]) -> str:
    """The whole page."""
    built = [row for row in rows if row.not_built is None]
    served = [row for row in built if row.refused is None]
    lines = [
        "# The language model inside a model of pictures or sound",
        "",
        f"Every type of transformers {transformers.__version__} that turns pictures or sound and text into text "
        f"({len(rows)}), as a tiny random whole model",
        "that is saved and loaded here: only its language model is read and held (`loading/tower.py`). Written by",
        "`python tests/families/tower_table.py`; `tests/families/test_towers.py` measures every row again.",
        "",
        f"- **{len(built)} built**: transformers makes the whole model from a config and runs it on text alone "
        f"({len(rows) - len(built)} cannot be).",
        f"- **{len(served)} served**: the logits are those of the whole model, for the memory of its language model; "
        f"{sum(row.is_causal for row in served)} of them as",
        "  the causal family that it is ([families.md](families.md) has what is shown of it), the others as the whole "
        "class without its other parts.",
        f"- **{sum(is_drawn(row) for row in served)} drawn**: as the causal family is, "
        "or measured as every family is.",
        f"- **{sum(bool(row.wrong) for row in built)} silently wrong**.",
        "",
        "| family | read as | drawn |",
        "|---|---|---|",
        *(render_row(row) for row in served),
        "",
        "## Refused",
        "",
        "| family | sentence |",
        "|---|---|",
        *(render_row(row) for row in built if row.refused is not None),
        "",
        "## What transformers itself does not build, or does not run on text alone",
        "",
        "| family | error |",
        "|---|---|",
        *(render_row(row) for row in rows if row.not_built is not None),
        "",
    ]
    return "\n".join(lines)


def is_drawn(row: TowerRow) -> bool:
    """Whether it is drawn, by the page of causal families where it is one of them."""
    if row.drawn.startswith("as "):
        return f"| {row.drawn.removeprefix('as ')} | yes | yes |" in CAUSAL
    return row.drawn == "yes"


def render_row(row: TowerRow) -> str:
    """One line of a table."""
    if row.not_built is not None or row.refused is not None:
        return f"| {row.family} | {quote(row.not_built or row.refused or '')} |"
    return f"| {row.family} | {row.served_as} | {quote(row.drawn)} |"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for family in WHOLE_FAMILIES:
        rows.append(measure_tower(family))
        if rows[-1].wrong:
            print(f"{family}: {rows[-1].wrong}", file=sys.stderr)
    PAGE.write_text(render(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
