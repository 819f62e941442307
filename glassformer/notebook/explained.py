"""Explanations and tokens as text and as HTML, for terminals and notebooks. Knows only messages and strings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from glassformer.protocol.messages import Explanation, Operand, Term

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
        shown = self.terms[:SHOWN_TERMS]
        lines += [f"  {write_number(term.contribution):>12}  {describe_term(term)}" for term in shown]
        count = self.rest_count + len(self.terms) - len(shown)
        if count:
            rest = self.rest_sum + sum(term.contribution for term in self.terms[SHOWN_TERMS:])
            lines.append(f"  {write_number(rest):>12}  the sum of {count} more")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_latex_(self) -> str:
        return f"$$\\displaystyle {self.latex}$$" if self.latex else ""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:right'>{write_number(term.contribution)}</td>"
            f"<td style='text-align:left'>{escape(describe_term(term))}</td></tr>"
            for term in self.terms
        )
        if self.rest_count:
            rows += (
                f"<tr><td style='text-align:right'>{write_number(self.rest_sum)}</td>"
                f"<td style='text-align:left'>the sum of {self.rest_count} more</td></tr>"
            )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return (
            f"<div><p><b>{escape(self.place)}</b> = {write_number(self.value)}<br>{escape(self._compare())}</p>"
            f"<p>{escape(self._repr_latex_())}</p>{note}<table>{rows}</table></div>"
        )

    def _compare(self) -> str:
        if self.recomputed is None:
            return f"{self.provenance}; not computed again"
        return (
            f"{self.provenance}; computed again {write_number(self.recomputed)}, "
            f"difference {write_number(self.difference)}"
        )


def describe_term(term: Term) -> str:
    return " · ".join([term.label, *map(describe_operand, term.operands)])


def describe_operand(operand: Operand) -> str:
    return f"{operand.name}[{', '.join(map(str, operand.index))}] = {write_number(operand.value)}"


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
