"""Where one cell comes from: its equation with the real operands, term by term, and the same computed again.

Sums are done in float64, so the difference shown is the model's rounding. Each term brings the formula that computes it
from its operands (`operation/formula.py`), and the explanation the one that makes the cell of the terms: their sum,
unless it says otherwise. How a cell is computed is each operation's own knowledge (`operation/closed_set.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from glassformer.compute.overflow import advise
from glassformer.errors import BadValue
from glassformer.explain.run_operands import RunOperands
from glassformer.operation.cell import Cell
from glassformer.operation.closed_set import compute_cell
from glassformer.operation.formula import TOTAL, add_up
from glassformer.operation.term import Addend
from glassformer.protocol.anatomy import Site
from glassformer.protocol.explanation import Explanation, TermPart

if TYPE_CHECKING:
    from glassformer.run.run import Run

# Terms listed with their operands; the rest are counted and summed.
LISTED_TERMS = 16


def explain(run: Run, address: str, index: list[int]) -> Explanation:
    """Where one cell of a run comes from. Raises UnknownAddress and BadValue (an index out of range)."""
    site = run.require_site(address)
    shape = run.shape(site)
    if len(index) != len(shape) or any(not 0 <= i < size for i, size in zip(index, shape, strict=False)):
        ranges = ", ".join(f"{axis} 0..{size - 1}" for axis, size in zip(site.axes, shape, strict=True))
        raise BadValue(f"{address} takes the indices {ranges}.", field="index")
    explanation = explain_cell(run, site, index)
    explanation.batched_difference = run.batched_difference
    if site.provenance == "rebuilt":
        explanation.rebuilt_difference = run.recording.rebuilt_difference
    changes = [given.operation for given in run.interventions if given.address == address]
    if changes:
        note = f"An intervention changed it ({', '.join(changes)}); the terms are what the model computed before."
        explanation.note = f"{explanation.note} {note}".strip()
    return explanation


def explain_cell(run: Run, site: Site, index: list[int]) -> Explanation:
    """`explain` for an index that is in range; knows nothing of what was changed in the run."""
    value = run.value(site.address, index)
    cell = compute_cell(site.equation, RunOperands(run), index) if site.equation is not None else None
    return describe_cell(site, index, value, cell, run.loaded.dtype)


def describe_cell(
    site: Site, index: list[int], value: float, cell: Cell | None, dtype: torch.dtype
) -> Explanation:
    """The message on a cell that is `value` in a run in `dtype`, and that its equation makes `cell`."""
    listed, rest = list_terms(cell) if cell else ([], [])
    finite = math.isfinite(value)
    recomputed = cell.value if cell is not None and math.isfinite(cell.value) else None
    rest_sum = add_up([term.contribution for term in rest])
    note = cell.note if cell else ""
    return Explanation(
        address=site.address,
        axes=site.axes,
        index=index,
        value=value if finite else None,
        provenance=site.provenance,
        equation=site.equation,
        latex=cell.latex if cell else "",
        recomputed=recomputed,
        difference=abs(value - recomputed) if finite and recomputed is not None else None,
        terms=[term.message() for term in listed],
        rest_count=len(rest),
        rest_sum=rest_sum if math.isfinite(rest_sum) else None,
        result=cell.result if cell and cell.result else TOTAL,
        note=note if finite or note else describe_overflow(value, dtype),
    )


def list_terms(cell: Cell) -> tuple[list[Addend], list[Addend]]:
    """The terms to list, largest first and the one that the cell is among them, and the others."""

    def order(term: Addend) -> float:
        return -math.inf if math.isnan(term.contribution) else -abs(term.contribution)

    terms = sorted(cell.terms, key=order)
    own = cell.result.label if isinstance(cell.result, TermPart) else None
    late = [term for term in terms[LISTED_TERMS:] if term.label == own]
    kept = LISTED_TERMS - len(late)
    return [*terms[:kept], *late], [term for term in terms[kept:] if term.label != own]


def describe_overflow(value: float, dtype: torch.dtype) -> str:
    """What to say of a cell that is infinite or not a number."""
    what = "not a number (NaN)" if math.isnan(value) else "minus infinity" if value < 0 else "infinity"
    return f"This cell is {what}: {advise(dtype)}." if dtype == torch.float16 else f"This cell is {what}."
