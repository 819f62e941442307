"""`glassformer trace --reading`: what mattered for one word, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassformer.notebook.readout import Readout

# Parts that have a row; the rest is one.
SHOWN_PARTS = 24


def print_reading(reading: Readout, console: Console) -> None:
    """The decision, the parts that add and take away most with what they read, and the words at each depth."""
    console.print(Text(reading.title, "bold"))
    table = Table("adds", "part", "", box=None)
    for value, name, reads in reading.list_rows(SHOWN_PARTS):
        table.add_row(Text(f"{value:+.4f}", justify="right"), Text(name), Text(reads, "dim"))
    console.print(table)
    turns = [f"{text!r} from {boundary}" for boundary, text, _ in reading.list_turns()]
    console.print(Text(f"What it would say after so many blocks: {', '.join(turns)}."))
    for fault in reading.list_faults():
        console.print(Text(f"Not told: {fault}.", "dim"))
