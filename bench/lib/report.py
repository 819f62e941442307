"""What a benchmark leaves in `bench/results`: a heading, how it was measured, a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"
MACHINE = f"{os.cpu_count()} cores ({platform.machine()})"


def write_report(name: str, title: str, how: Sequence[str], head: Sequence[str], rows: Sequence[str]) -> str:
    """Write `<name>.md` and give its text. `how` are lines, `head` the table's first two, `rows` the others."""
    text = "\n".join([f"# {title}", "", *how, "", *head, *rows]) + "\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    return text
