"""`glassformer trace --heads`: the strongest heads of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas

    from glassformer.notebook import Trace

# Heads of each kind that are named.
SHOWN = 5
KINDS = {
    "previous": "previous token",
    "first": "first token",
    "induction": "induction",
    "duplicate": "duplicate token",
}


def print_heads(trace: Trace, console: Console) -> None:
    """A line for each kind of head: the heads that read so the most, with their scores, and over how many positions."""
    frame = trace.heads()
    start, stop = frame.attrs["start"], frame.attrs["stop"]
    if len(frame):
        console.print(f"\nMean attention over positions {start} to {stop - 1}, the strongest heads first.")
        table = Table("kind", "positions", "block.head and score", box=None)
        for kind, name in KINDS.items():
            table.add_row(name, tell_count(frame, kind), tell_best(frame[kind]))
        narrow = 1 - frame["entropy_share"]
        table.add_row(
            "narrow", tell_count(frame, "entropy"), tell_best(narrow, frame["entropy_bits"], " bits")
        )
        console.print(table)
    for block, reason in frame.attrs["refused"].items():
        console.print(f"Block {block} shows no heads: {reason}.", style="dim")


def tell_count(frame: pandas.DataFrame, kind: str) -> str:
    """Over how many positions a mean is: windows give blocks different numbers."""
    counts = sorted({over[kind] for over in frame.attrs["over"].values()})
    return "-".join(str(count) for count in dict.fromkeys([counts[0], counts[-1]]))


def tell_best(rank: pandas.Series, shown: pandas.Series | None = None, unit: str = "") -> str:
    best = rank.dropna().sort_values(ascending=False, kind="stable").head(SHOWN)
    values = rank if shown is None else shown
    told = [f"{block}.{head} {values[block, head]:.2f}{unit}" for block, head in best.index]
    return "   ".join(told) or "the text repeats no token"
