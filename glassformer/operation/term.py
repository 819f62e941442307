"""Addends of an explained cell, and how their numbers are written: pure functions on messages and text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from glassformer.operation.formula import moved, named, plus, times
from glassformer.protocol.explanation import Operand, Part, Term, TermPart


@dataclass(frozen=True, slots=True)
class Addend:
    """A term on the way: what it adds, the cells that took part, and how it comes out of them."""

    label: str
    contribution: float
    operands: tuple[Operand, ...]
    formula: Part

    def message(self) -> Term:
        finite = math.isfinite(self.contribution)
        return Term(
            label=self.label,
            contribution=self.contribution if finite else None,
            operands=list(self.operands),
            formula=self.formula,
        )


def scaled(
    terms: Iterable[Addend],
    factor: float,
    *parts: Part,
    over: Sequence[Part] = (),
    operands: Sequence[Operand] = (),
) -> list[Addend]:
    """Terms of a sum after multiplying it by `factor`, which is `parts` over `over`; `operands` are theirs."""
    # Terms of one sum mostly share one formula.
    made: dict[tuple[int, int], Part] = {}
    found = []
    for term in terms:
        key = (id(term.formula), len(term.operands))
        if key not in made:
            places = [len(term.operands) + at for at in range(len(operands))]
            made[key] = times(
                term.formula,
                *(moved(part, places) for part in parts),
                over=[moved(part, places) for part in over],
            )
        found.append(Addend(term.label, term.contribution * factor, (*term.operands, *operands), made[key]))
    return found


def merged_terms(first: Sequence[Addend], second: Sequence[Addend]) -> list[Addend]:
    """Terms of two sums over the same things, added label by label; the labels of each are distinct."""
    merged = {term.label: term for term in first}
    for term in second:
        held = merged.get(term.label)
        merged[term.label] = term if held is None else _added(held, term)
    return [*merged.values()]


def _added(held: Addend, term: Addend) -> Addend:
    operands, places = list(held.operands), []
    for operand in term.operands:
        if operand not in operands:
            operands.append(operand)
        places.append(operands.index(operand))
    formula = plus(held.formula, moved(term.formula, places))
    return Addend(held.label, held.contribution + term.contribution, tuple(operands), formula)


def distinct(terms: Sequence[Addend]) -> list[Addend]:
    """The same terms, none labelled as another is: where two are, each says what it is of."""
    shared = {label for label, count in Counter(term.label for term in terms).items() if count > 1}
    if not shared:
        return [*terms]
    named = [
        replace(term, label=f"{term.label} of {term.operands[-1].name}")
        if term.label in shared and term.operands
        else term
        for term in terms
    ]
    taken: Counter[str] = Counter()
    found = []
    for term in named:
        taken[term.label] += 1
        count = taken[term.label]
        found.append(term if count == 1 else replace(term, label=f"{term.label} ({count})"))
    return found


def label_of(place: list[int]) -> str:
    """How an input feature of a linear map is called: its last index, with its head where it has one."""
    return f"feature {place[-1]}" if len(place) == 2 else f"head {place[0]}, feature {place[-1]}"


def operand_of(kind: Literal["site", "weight"], name: str, index: list[int], value: float) -> Operand:
    """One cell as an explanation names it."""
    return Operand(kind=kind, name=name, index=index, value=value if math.isfinite(value) else None)


def one_of(terms: Sequence[Addend], label: str, value: float) -> Part:
    """The term that the cell is; the bare value where there is no such term."""
    return TermPart(label=label) if any(term.label == label for term in terms) else named(value, "share")


def number(value: float) -> str:
    """Four significant digits in LaTeX."""
    if math.isnan(value):
        return r"\mathrm{NaN}"
    if not math.isfinite(value):
        return r"-\infty" if value < 0 else r"\infty"
    text = significant(value)
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else text


def significant(value: float) -> str:
    """Four significant digits; a zero has no sign."""
    return f"{value or 0.0:.4g}"
