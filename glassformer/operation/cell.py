"""One cell on the way to its explanation: a value, the addends it is made of, and how it reads with numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from glassformer.operation.formula import FIRST, TOTAL, add_up, named, with_total
from glassformer.operation.term import Addend, number
from glassformer.protocol.explanation import Operand, Part, TermPart


@dataclass(slots=True)
class Cell:
    """What an equation comes to in one cell.

    `result` gives the value from the terms; None where it is their sum.
    """

    value: float
    terms: list[Addend] = field(default_factory=list)
    latex: str = ""
    note: str = ""
    result: Part | None = None

    @property
    def is_sum(self) -> bool:
        """Whether it is the sum of several terms."""
        return self.result is None and len(self.terms) != 1

    def as_one(self, label: str) -> Addend:
        """The value as one term: its only one, the one it is, or one that names what the others come to."""
        if self.result is None and len(self.terms) == 1:
            return self.terms[0]
        if isinstance(self.result, TermPart):
            own = self.result.label
            return next(term for term in self.terms if term.label == own)
        total = named(add_up([term.contribution for term in self.terms]), "sum")
        return Addend(label, self.value, (), with_total(self.result or TOTAL, total))


def cell_of(operand: Operand, value: float, label: str | None = None) -> Cell:
    """One operand and nothing else; `value` is what it is where the message cannot say so (infinite, NaN)."""
    return Cell(value, [Addend(label or operand.name, value, (operand,), FIRST)], number(value))
