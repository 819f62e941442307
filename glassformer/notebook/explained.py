"""Explanations and tokens as text and as HTML, for terminals and notebooks. Knows only messages and strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from glassformer.operation.formula import write_formula, write_pattern
from glassformer.protocol.explanation import Explanation, Operand, Part, Term, TotalPart

# Terms shown in a terminal; all that are listed are shown in a notebook.
SHOWN_TERMS = 8


class Explained(Explanation):
    """An explanation that reads well."""

    @property
    def place(self) -> str:
        """`mlp_act.2[pos=5, d_mlp=120]`."""
        where = ", ".join(f"{axis}={at}" for axis, at in zip(self.axes, self.index, strict=True))
        return f"{self.address}[{where}]"

    def __repr__(self) -> str:
        lines = [f"{self.place} = {write_number(self.value)}", f"  {self._compare()}"]
        if self.note:
            lines.append(f"  {self.note}")
        lines += [f"  {self._pattern()}"] if self.terms else []
        shown = self.terms[:SHOWN_TERMS]
        for term in shown:
            lines.append(f"  {write_number(term.contribution):>12}  {describe_term(term)}")
        count = self.rest_count + len(self.terms) - len(shown)
        if count:
            rest = add_up([self.rest_sum, *(term.contribution for term in self.terms[SHOWN_TERMS:])])
            lines.append(f"  {write_number(rest):>12}  the sum of {count} more")
        if self.terms:
            lines.append(f"  {describe_result(self.result)}")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_latex_(self) -> str:
        return f"$$\\displaystyle {self.latex}$$" if self.latex else ""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:right'>{write_number(term.contribution)}</td>"
            f"<td style='text-align:left'>{escape(describe_term(term))}</td>"
            f"<td style='text-align:left'>{escape('; '.join(map(describe_operand, term.operands)))}</td></tr>"
            for term in self.terms
        )
        if self.rest_count:
            rows += (
                f"<tr><td style='text-align:right'>{write_number(self.rest_sum)}</td>"
                f"<td style='text-align:left'>the sum of {self.rest_count} more</td></tr>"
            )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        pattern = f"<p>{escape(self._pattern())}</p>" if self.terms else ""
        result = f"<p>{escape(describe_result(self.result))}</p>" if self.terms else ""
        return (
            f"<div><p><b>{escape(self.place)}</b> = {write_number(self.value)}<br>{escape(self._compare())}</p>"
            f"<p>{escape(self._repr_latex_())}</p>{note}{pattern}<table>{rows}</table>{result}</div>"
        )

    def _pattern(self) -> str:
        """What most terms are, in words."""
        patterns = Counter(write_pattern(term.formula, term.operands) for term in self.terms)
        return f"each term: {patterns.most_common(1)[0][0]}"

    def _compare(self) -> str:
        text = f"{self.provenance}; not computed again"
        if self.recomputed is not None:
            text = (
                f"{self.provenance}; computed again {write_number(self.recomputed)}, "
                f"difference {write_number(self.difference)}"
            )
        if self.batched_difference:
            text += (
                "; recorded step by step, which differs from one whole forward by at most "
                f"{write_number(self.batched_difference)}"
            )
        return text


def describe_term(term: Term) -> str:
    """`feature 4: 0.53 × (0.21 × 0.97 + (-0.11) × (-0.24))`."""
    return f"{term.label}: {write_formula(term.formula, term.operands, write_number)}"


def describe_operand(operand: Operand) -> str:
    return f"{write_number(operand.value)} = {operand.name}[{', '.join(map(str, operand.index))}]"


def describe_result(result: Part) -> str:
    """How the value comes of the terms."""
    if isinstance(result, TotalPart):
        return "The value is the sum of all terms."
    return f"The value is {write_formula(result, [], write_number)}."


def add_up(values: Sequence[float | None]) -> float | None:
    """The sum; None where one of them is not finite."""
    return None if None in values else sum(value for value in values if value is not None)


def write_number(value: float | None) -> str:
    """Five significant digits; a value that is not finite is told as such."""
    return "not finite" if value is None else f"{value:.5g}"


def describe_tokens(tokens: Sequence[str], prompt_count: int, title: str) -> str:
    """Tokens in a row, those the model wrote underlined, white space shown."""
    style = "display:inline-block;border:1px solid #8884;border-radius:3px;margin:1px;padding:0 3px;white-space:pre"
    cells = "".join(
        f"<span style='{style}{';border-bottom:2px solid #d80' if at >= prompt_count else ''}' title='pos {at}'>"
        f"{escape(token).replace(chr(10), '↵')}</span>"
        for at, token in enumerate(tokens)
    )
    return f"<div><p>{escape(title)}</p><div>{cells}</div></div>"
