"""The small formulas of an explanation: made, evaluated and written as text. Pure functions on messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from glassformer.protocol.explanation import (
    FunctionPart,
    NumberPart,
    Operand,
    OperandPart,
    Part,
    ProductPart,
    SumPart,
    TermPart,
    TotalPart,
)

Write = Callable[[float | None], str]
Apply = Callable[[str, float], float]


def product(parts: Sequence[Part], divisors: Sequence[Part] = ()) -> ProductPart:
    return ProductPart(parts=list(parts), divisors=list(divisors))


FIRST, SECOND = OperandPart(at=0), OperandPart(at=1)
# Of two operands, as most terms are.
PAIR = product([FIRST, SECOND])
TOTAL = TotalPart()


def named(value: float, name: str) -> NumberPart:
    """A number that is no cell, with a word for it."""
    return NumberPart(value=value if math.isfinite(value) else None, name=name)


def times(formula: Part, *factors: Part, over: Sequence[Part] = ()) -> ProductPart:
    """A formula multiplied and divided further; products stay flat, so that they read in one line."""
    if isinstance(formula, ProductPart):
        return product([*formula.parts, *factors], [*formula.divisors, *over])
    return product([formula, *factors], over)


def plus(first: Part, second: Part) -> Part:
    """A sum of two formulas; what both begin by multiplying with, and end by dividing by, stands outside."""
    if not (isinstance(first, ProductPart) and isinstance(second, ProductPart)):
        return SumPart(parts=[first, second])
    shares = first.parts[0] == second.parts[0] and first.divisors == second.divisors
    if not shares or min(len(first.parts), len(second.parts)) < 2:
        return SumPart(parts=[first, second])
    rests = [one.parts[1] if len(one.parts) == 2 else product(one.parts[1:]) for one in (first, second)]
    return ProductPart(parts=[first.parts[0], SumPart(parts=rests)], divisors=first.divisors)


def moved(formula: Part, places: Sequence[int]) -> Part:
    """A formula whose operand `at` has become operand `places[at]`."""
    match formula:
        case OperandPart():
            return OperandPart(at=places[formula.at])
        case SumPart():
            return SumPart(parts=[moved(part, places) for part in formula.parts])
        case ProductPart():
            return ProductPart(
                parts=[moved(part, places) for part in formula.parts],
                divisors=[moved(part, places) for part in formula.divisors],
            )
        case FunctionPart():
            return FunctionPart(function=formula.function, of=moved(formula.of, places))
    return formula


def with_total(formula: Part, total: Part) -> Part:
    """A formula over the sum of the terms, with that sum put in."""
    match formula:
        case TotalPart():
            return total
        case SumPart():
            return SumPart(parts=[with_total(part, total) for part in formula.parts])
        case ProductPart():
            return ProductPart(
                parts=[with_total(part, total) for part in formula.parts],
                divisors=[with_total(part, total) for part in formula.divisors],
            )
        case FunctionPart():
            return FunctionPart(function=formula.function, of=with_total(formula.of, total))
    return formula


def evaluate(
    formula: Part,
    operands: Sequence[Operand],
    apply: Apply,
    *,
    total: float = math.nan,
    terms: Mapping[str, float | None] | None = None,
) -> float:
    """What a formula gives in float64; `apply` computes a function by its name. NaN where a number is missing."""

    def value(part: Part) -> float:
        match part:
            case OperandPart():
                found = operands[part.at].value
            case NumberPart():
                found = part.value
            case TermPart():
                found = (terms or {}).get(part.label)
            case TotalPart():
                found = total
            case SumPart():
                found = add_up([value(each) for each in part.parts])
            case ProductPart():
                found = math.prod(value(each) for each in part.parts)
                for divisor in part.divisors:
                    by = value(divisor)
                    found = found / by if by else math.nan
            case FunctionPart():
                found = apply(part.function, value(part.of))
        return math.nan if found is None else found

    return value(formula)


def add_up(values: Sequence[float]) -> float:
    """The sum, rounded once; infinite or NaN where the values are."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def write_formula(formula: Part, operands: Sequence[Operand], write: Write) -> str:
    """A formula in one line, with numbers as `write` writes them: `0.53 × (0.21 × 0.97 + 0.11 × (-0.24))`."""
    return _write(
        formula,
        lambda at: bracket(write(operands[at].value)),
        lambda part: bracket(write(part.value)),
    )


def write_pattern(formula: Part, operands: Sequence[Operand]) -> str:
    """The same with what each number is: `attn_in.1 × (q_proj.weight × cos + q_proj.weight × −sin)`."""
    return _write(
        formula,
        lambda at: ".".join(operands[at].name.split(".")[-2:]),
        lambda part: part.name,
    )


def _write(formula: Part, operand: Callable[[int], str], named_number: Callable[[NumberPart], str]) -> str:
    def text(part: Part, *, leads: bool, inside: bool) -> str:
        match part:
            case OperandPart():
                return shown(operand(part.at), leads=leads)
            case NumberPart():
                return shown(named_number(part), leads=leads)
            case TermPart():
                return f"the term {part.label}"
            case TotalPart():
                return "(the sum of all terms)"
            case SumPart():
                parts = [text(each, leads=at == 0, inside=False) for at, each in enumerate(part.parts)]
                whole = " + ".join(parts)
                return f"({whole})" if inside else whole
            case ProductPart():
                parts = [
                    text(each, leads=leads and at == 0, inside=True) for at, each in enumerate(part.parts)
                ]
                return " ÷ ".join([" × ".join(parts), *map(divisor, part.divisors)])
            case FunctionPart():
                return f"{part.function}({text(part.of, leads=True, inside=False)})"

    def divisor(part: Part) -> str:
        whole = text(part, leads=False, inside=True)
        return f"({whole})" if isinstance(part, ProductPart) else whole

    return text(formula, leads=True, inside=False)


def bracket(text: str) -> str:
    """Negative numbers in brackets, so that signs do not collide."""
    return f"({text})" if text.startswith("-") else text


def shown(text: str, *, leads: bool) -> str:
    """A number without its brackets where no other sign stands before it."""
    return text[1:-1] if leads and text.startswith("(-") else text
