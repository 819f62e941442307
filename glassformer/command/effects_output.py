"""`glassformer trace --effects`: what a word needs, by test, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassformer.notebook.tested_parts import TITLES, TestedParts, describe_share

SHOWN_WORDS = 12
SHOWN_PARTS = 24


def print_effects(effects: TestedParts, console: Console) -> None:
    """The decision, then words and parts whose absence changes it the most, by margin."""
    console.print()
    console.print(Text(effects.title, "bold"))
    table = Table(*TITLES, box=None)
    for name, what, change, probability, says in effects.list_rows(words=SHOWN_WORDS, parts=SHOWN_PARTS):
        number = Text(f"{change:+.4f}", justify="right")
        table.add_row(
            name, Text(what), number, Text(describe_share(probability), justify="right"), Text(says)
        )
    console.print(table)
    for fault in effects.list_faults():
        console.print(Text(f"Not tested: {fault}", "dim"))
