"""The message that explains one cell: its terms, and for each the small formula that computes it from its operands.

A formula is a tree of a closed set of parts. Whoever shows a term writes its formula with the operands' numbers, so
that what stands on the screen is what was computed; whoever checks it evaluates the same tree (`operation/formula.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glassformer.protocol.anatomy import Axis, Equation, Provenance
from glassformer.protocol.message import Message


class OperandPart(Message):
    """An operand of the term, by its place among them."""

    kind: Literal["operand"] = "operand"
    at: int


class NumberPart(Message):
    """A number that is no cell of its own: a constant of the equation, or what a whole row came to."""

    kind: Literal["number"] = "number"
    value: float | None = Field(description="None where it is not finite")
    name: str = Field(description="a word for it: cos, rms, scale, sum of exponentials, ...")


class SumPart(Message):
    """The sum of its parts."""

    kind: Literal["sum"] = "sum"
    parts: list[Part]


class ProductPart(Message):
    """The product of its parts, divided by each of `divisors`."""

    kind: Literal["product"] = "product"
    parts: list[Part]
    divisors: list[Part]


class FunctionPart(Message):
    """A function of one number: exp, tanh, or an activation by its name in the anatomy."""

    kind: Literal["function"] = "function"
    function: str
    of: Part


class TotalPart(Message):
    """The sum of all terms, those that are not listed too."""

    kind: Literal["total"] = "total"


class TermPart(Message):
    """One of the terms, by its label."""

    kind: Literal["term"] = "term"
    label: str


Part = Annotated[
    OperandPart | NumberPart | SumPart | ProductPart | FunctionPart | TotalPart | TermPart,
    Field(discriminator="kind"),
]


class Operand(Message):
    """A cell that took part: of a site or of a weight."""

    kind: Literal["site", "weight"]
    name: str
    index: list[int]
    value: float | None = Field(description="None where it is not finite")


class Term(Message):
    """One addend of an explained cell; `label` names the axis value it stands for, and is no other term's."""

    label: str
    contribution: float | None = Field(description="what `formula` gives; None where that is not finite")
    operands: list[Operand]
    formula: Part


class Explanation(Message):
    """One cell: its value, what it was computed from, and the same computed again."""

    address: str
    axes: list[Axis]
    index: list[int]
    value: float | None = Field(description="None where the value is not finite (a masked score)")
    provenance: Provenance
    equation: Equation | None
    latex: str = Field(description="the equation with this cell's numbers")
    recomputed: float | None
    difference: float | None
    terms: list[Term] = Field(description="largest magnitude first")
    rest_count: int = 0
    rest_sum: float | None = Field(default=0.0, description="None where it is not finite")
    result: Part = Field(description="how the terms give the recomputed value")
    note: str = ""
    batched_difference: float | None = Field(
        default=None,
        description="largest difference met between what was decoded token by token and the same in one forward",
    )
    rebuilt_difference: float | None = Field(
        default=None, description="as of the recording, where this value is of a row that was made again"
    )


for _message in (SumPart, ProductPart, FunctionPart, Term, Explanation):
    _message.model_rebuild()
