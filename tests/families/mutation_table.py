"""Writes the table of docs/self-check.md: python tests/families/mutation_table.py (about a minute)."""

import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutating import FACTORS, FAMILIES, FORMATS, KINDS, make_subject, try_mutants

PAGE = Path(__file__).parents[2] / "docs" / "self-check.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def measure() -> tuple[Counter[tuple[str, torch.dtype, str]], dict[str, set[str]]]:
    """How many wrong equations of a kind had which outcome in a format, and the families that have the kind."""
    counts: Counter[tuple[str, torch.dtype, str]] = Counter()
    families: defaultdict[str, set[str]] = defaultdict(set)
    for family in FAMILIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject = make_subject(family)
        for dtype in FORMATS:
            for factor in FACTORS:
                for verdict in try_mutants(subject, dtype, factor):
                    counts[verdict.kind, dtype, verdict.outcome] += 1
                    families[verdict.kind].add(family)
    return counts, families


def render(counts: Counter[tuple[str, torch.dtype, str]], families: dict[str, set[str]]) -> str:
    rows = ["| kind | families | float32 | bfloat16 | float16 |", "|---|---:|---|---|---|"]
    for kind in KINDS:
        cells = [describe({o: counts[kind, dtype, o] for o in OUTCOMES}) for dtype in FORMATS]
        rows.append(f"| {kind} | {len(families[kind])} | {' | '.join(cells)} |")
    total = Counter(outcome for (_, _, outcome), count in counts.items() for _ in range(count))
    last = f"{total.total()} wrong equations in all: {describe(total)}."
    return "\n".join([*rows, "", last])


OUTCOMES = ("refused", "told apart", "undecided", "accepted", "same")


def describe(found: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES if found[outcome])


if __name__ == "__main__":
    torch.set_num_threads(1)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{render(*measure())}\n{END}{rest.partition(END)[2]}")
