"""Where one cell comes from: its equation with the real operands, term by term, and the same computed again.

Walks the anatomy's equation of the site; sums are done in float64, so the difference shown is the model's rounding.
Every operation is linear in what it sums over (or a product), so each cell is a list of addends, except softmax
and activations, which say so in the note.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from glassformer.errors import UnknownAddress
from glassformer.model.equation import allowed, cut_weight, rotary_partner, spread_table
from glassformer.protocol.messages import (
    Equation,
    EquationInput,
    Explanation,
    Input,
    Operand,
    Site,
    SiteInput,
    Term,
    WeightInput,
)
from glassformer.trace.term import bracket, label_of, merged_terms, number, scaled

if TYPE_CHECKING:
    from glassformer.trace.trace import Trace

# Terms listed with their operands; the rest are counted and summed.
LISTED_TERMS = 16


@dataclass(slots=True)
class Cell:
    """A value on the way: what it is, the addends it is made of, and how it reads with numbers."""

    value: float
    terms: list[Term] = field(default_factory=list)
    latex: str = ""
    note: str = ""


def explain_cell(trace: Trace, site: Site, index: list[int]) -> Explanation:
    """Explain one cell of a recording; `index` is in the site's axis order and in range."""
    value = trace.value(site.address, index)
    cell = _Walk(trace).equation(site.equation, index) if site.equation is not None else None
    terms = sorted(cell.terms, key=lambda term: -abs(term.contribution)) if cell else []
    rest = terms[LISTED_TERMS:]
    finite = math.isfinite(value)
    recomputed = cell.value if cell is not None and math.isfinite(cell.value) else None
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
        terms=terms[:LISTED_TERMS],
        rest_count=len(rest),
        rest_sum=math.fsum(term.contribution for term in rest),
        note=cell.note if cell else "",
    )


class _Walk:
    """Evaluates one cell of an equation; indices are those of the equation's own result."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._operations: dict[str, Callable[[Equation, list[int]], Cell]] = {
            "lookup": self._lookup,
            "add": self._add,
            "scale": self._scale,
            "norm": self._norm,
            "matmul": self._matmul,
            "rotary": self._rotary,
            "dot": self._dot,
            "softcap": self._softcap,
            "mask": self._mask,
            "softmax": self._softmax,
            "weighted_sum": self._weighted_sum,
            "activation": self._activation,
            "multiply": self._multiply,
        }

    def equation(self, equation: Equation, index: list[int]) -> Cell:
        return self._operations[equation.operation](equation, index)

    def _input(self, given: Input, index: list[int]) -> Cell:
        """One cell of an input, as a single term where it is a site or a weight."""
        if isinstance(given, EquationInput):
            return self.equation(given.equation, index)
        operand = self._operand(given, index)
        value = math.nan if operand.value is None else operand.value
        return Cell(value, [Term(label=operand.name, contribution=value, operands=[operand])], number(value))

    def _operand(self, given: Input, index: list[int]) -> Operand:
        if isinstance(given, SiteInput):
            return self._site(given.address, index)
        assert isinstance(given, WeightInput)
        return self._weight(given, index)

    def _site(self, address: str, index: list[int], value: float | None = None) -> Operand:
        found = self._trace.value(address, index) if value is None else value
        return Operand(kind="site", name=address, index=index, value=found if math.isfinite(found) else None)

    def _weight(self, given: WeightInput, index: list[int], *, transposed: bool = False) -> Operand:
        """A weight's cell by [d_out, d_in] index within the run that the input names; reported as stored."""
        stored = [index[0] + (given.start or 0), *index[1:]]
        if transposed:
            stored.reverse()
        value = float(self._trace.loaded.structure.parameter(given.name)[tuple(stored)])
        return Operand(kind="weight", name=given.name, index=stored, value=value)

    def _row(self, given: Input, index: list[int]) -> tuple[torch.Tensor, str | None]:
        """All values along the last axis at `index` (which leaves that axis out), and the address if it is a site."""
        if not isinstance(given, SiteInput):
            raise UnknownAddress("equation", "only a site can be read by rows")
        region = (*(slice(i, i + 1) for i in index), *self._last_axis(given.address))
        return torch.from_numpy(self._trace.read(given.address, region).copy()).double().reshape(
            -1
        ), given.address

    def _last_axis(self, address: str) -> tuple[slice]:
        return (slice(0, self._trace.shape(self._trace.require_site(address))[-1]),)

    # --- operations --------------------------------------------------------------------------------

    def _lookup(self, equation: Equation, index: list[int]) -> Cell:
        pos, feature = index
        by_token = equation.attributes["by"] == "token_ids"
        row = self._trace.token_ids[pos] if by_token else pos + int(equation.attributes.get("first", 0))
        table = equation.inputs[0]
        assert isinstance(table, WeightInput)
        operand = self._weight(table, [row, feature])
        value = operand.value or 0.0
        return Cell(value, [Term(label=f"row {row}", contribution=value, operands=[operand])], number(value))

    def _add(self, equation: Equation, index: list[int]) -> Cell:
        cells = [self._input(given, index) for given in equation.inputs]
        total = math.fsum(cell.value for cell in cells)
        terms = [term for cell in cells for term in cell.terms]
        body = " + ".join(bracket(number(cell.value)) for cell in cells)
        return Cell(total, terms, f"{number(total)} = {body}")

    def _scale(self, equation: Equation, index: list[int]) -> Cell:
        inner = self._input(equation.inputs[0], index)
        factor = float(equation.attributes["factor"])
        value = factor * inner.value
        return Cell(
            value,
            scaled(inner.terms, factor),
            rf"{number(value)} = {number(factor)} \cdot {bracket(number(inner.value))}",
        )

    def _norm(self, equation: Equation, index: list[int]) -> Cell:
        given, feature, eps = equation.inputs[0], index[-1], float(equation.attributes["eps"])
        if isinstance(given, EquationInput):
            width = self._trace.loaded.structure.arch.head_dim
            cells = [self.equation(given.equation, [*index[:-1], j]) for j in range(width)]
            row = torch.tensor([cell.value for cell in cells], dtype=torch.float64)
            inner = cells[feature]
        else:
            row, _ = self._row(given, index[:-1])
            inner = self._input(given, index)
        layer = equation.attributes["norm"] == "layer"
        mean = float(row.mean()) if layer else 0.0
        size = math.sqrt(float((row - mean).pow(2).mean()) + eps)
        gain, gain_operands = 1.0, []
        if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
            operand = self._weight(equation.inputs[1], [feature])
            gain, gain_operands = (
                (operand.value or 0.0) + float(equation.attributes.get("offset", 0.0)),
                [operand],
            )
        terms = scaled(inner.terms, gain / size)
        for term in terms[:1]:
            term.operands += gain_operands
        top = f"{number(inner.value)} - {bracket(number(mean))}" if layer else number(inner.value)
        latex = rf"\frac{{{top}}}{{{number(size)}}} \cdot {bracket(number(gain))}"
        if layer:
            terms.append(Term(label="mean", contribution=-mean * gain / size, operands=[]))
        value = (inner.value - mean) * gain / size
        if len(equation.inputs) > 2 and isinstance(equation.inputs[2], WeightInput):
            bias = self._weight(equation.inputs[2], [feature])
            terms.append(Term(label="bias", contribution=bias.value or 0.0, operands=[bias]))
            value += bias.value or 0.0
            latex += f" + {bracket(number(bias.value or 0.0))}"
        return Cell(value, terms, f"{number(value)} = {latex}")

    def _matmul(self, equation: Equation, index: list[int]) -> Cell:
        heads, transposed = equation.attributes.get("heads"), bool(equation.attributes.get("transposed"))
        maps = [given for given in equation.inputs[1:] if isinstance(given, WeightInput)]
        parameter = self._trace.loaded.structure.parameter
        weight = cut_weight(maps[0], parameter(maps[0].name), transposed=transposed)
        if heads:
            head, pos, within = index
            out = head * (weight.shape[0] // int(heads)) + within
        else:
            pos, out = index
        source = equation.inputs[0]
        assert isinstance(source, SiteInput)
        x, places = self._features(source.address, pos, merged=bool(equation.attributes.get("merge_heads")))
        row = weight[out].detach().double().cpu()
        products = x * row
        terms = [
            Term(
                label=label_of(place),
                contribution=float(products[j]),
                operands=[
                    self._site(source.address, place, float(x[j])),
                    self._weight_operand(maps[0], [out, j], float(row[j]), transposed=transposed),
                ],
            )
            for j, place in enumerate(places)
        ]
        total = math.fsum(products.tolist())
        body = r"\sum_j x_j w_j"
        if len(maps) > 1:
            bias = self._weight(maps[1], [out])
            terms.append(Term(label="bias", contribution=bias.value or 0.0, operands=[bias]))
            total += bias.value or 0.0
            body += f" + {bracket(number(bias.value or 0.0))}"
        return Cell(total, terms, f"{number(total)} = {body}")

    def _weight_operand(
        self, given: WeightInput, index: list[int], value: float, *, transposed: bool
    ) -> Operand:
        stored = [index[0] + (given.start or 0), *index[1:]]
        return Operand(
            kind="weight", name=given.name, index=stored[::-1] if transposed else stored, value=value
        )

    def _features(self, address: str, pos: int, *, merged: bool) -> tuple[torch.Tensor, list[list[int]]]:
        """The input features of a linear map at one position, and each one's index in its site."""
        shape = self._trace.shape(self._trace.require_site(address))
        if not merged:
            row = self._trace.read(address, (slice(pos, pos + 1), slice(0, shape[1])))
            return torch.from_numpy(row.copy()).double().reshape(-1), [[pos, j] for j in range(shape[1])]
        row = self._trace.read(address, (slice(0, shape[0]), slice(pos, pos + 1), slice(0, shape[2])))
        places = [[head, pos, j] for head in range(shape[0]) for j in range(shape[2])]
        return torch.from_numpy(row.copy()).double().reshape(-1), places

    def _rotary(self, equation: Equation, index: list[int]) -> Cell:
        head, pos, feature = index
        tables = self._trace.block_sites(int(equation.attributes["block"])).rotary
        if tables is None:
            raise UnknownAddress("rotary", "the model passed no rotary tables")
        cos, sin = (spread_table(table, equation.attributes) for table in tables)
        own = self._input(equation.inputs[0], index)
        if feature >= cos.shape[-1]:
            return own
        partner, sign = rotary_partner(feature, cos.shape[-1], str(equation.attributes["pairing"]))
        other = self._input(equation.inputs[0], [head, pos, partner])
        c, s = float(cos[pos, feature]), sign * float(sin[pos, feature])
        value = own.value * c + other.value * s
        products = [(own.value, c), (other.value, s)]
        body = " + ".join(rf"{bracket(number(x))} \cdot {bracket(number(y))}" for x, y in products)
        return Cell(
            value, merged_terms(scaled(own.terms, c), scaled(other.terms, s)), f"{number(value)} = {body}"
        )

    def _dot(self, equation: Equation, index: list[int]) -> Cell:
        head, query, key = index
        first, second = equation.inputs
        assert isinstance(first, SiteInput)
        assert isinstance(second, SiteInput)
        kv_head = head // (self._heads(first.address) // self._heads(second.address))
        q, _ = self._row(first, [head, query])
        k, _ = self._row(second, [kv_head, key])
        terms = [
            Term(
                label=f"d_head {j}",
                contribution=float(q[j] * k[j]),
                operands=[
                    self._site(first.address, [head, query, j], float(q[j])),
                    self._site(second.address, [kv_head, key, j], float(k[j])),
                ],
            )
            for j in range(len(q))
        ]
        total = math.fsum((q * k).tolist())
        return Cell(total, terms, rf"{number(total)} = \sum_d q_d k_d")

    def _heads(self, address: str) -> int:
        return self._trace.shape(self._trace.require_site(address))[0]

    def _softcap(self, equation: Equation, index: list[int]) -> Cell:
        inner, cap = self._input(equation.inputs[0], index), float(equation.attributes["cap"])
        value = cap * math.tanh(inner.value / cap)
        latex = rf"{number(value)} = {number(cap)}\tanh\left(\frac{{{number(inner.value)}}}{{{number(cap)}}}\right)"
        return Cell(value, inner.terms, latex, f"The terms sum to {inner.value:.4g}, before the soft cap.")

    def _mask(self, equation: Equation, index: list[int]) -> Cell:
        window = equation.attributes.get("window")
        if not allowed(index[-2], index[-1], None if window is None else int(window)):
            return Cell(
                -math.inf,
                [],
                r"-\infty",
                "Masked: a position attends only to itself and what came before it.",
            )
        return self._input(equation.inputs[0], index)

    def _softmax(self, equation: Equation, index: list[int]) -> Cell:
        head, query, key = index
        source = equation.inputs[0]
        assert isinstance(source, SiteInput)
        scores, _ = self._row(source, [head, query])
        shares = torch.softmax(scores, dim=0)
        if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
            sink = self._weight(equation.inputs[1], [head]).value or 0.0
            shares = torch.softmax(torch.cat([scores, torch.tensor([sink], dtype=torch.float64)]), dim=0)[:-1]
        terms = [
            Term(
                label=f"key {j}",
                contribution=float(shares[j]),
                operands=[self._site(source.address, [head, query, j], float(scores[j]))],
            )
            for j in range(len(scores))
            if math.isfinite(float(scores[j]))
        ]
        value = float(shares[key])
        latex = rf"{number(value)} = \frac{{e^{{{number(float(scores[key]))}}}}}{{\sum_j e^{{s_j}}}}"
        return Cell(
            value,
            terms,
            latex,
            "The terms are the shares of all keys in this row, which the softmax makes sum to one.",
        )

    def _weighted_sum(self, equation: Equation, index: list[int]) -> Cell:
        head, pos, feature = index
        first, second = equation.inputs
        assert isinstance(first, SiteInput)
        assert isinstance(second, SiteInput)
        kv_head = head // (self._heads(first.address) // self._heads(second.address))
        weights, _ = self._row(first, [head, pos])
        column = self._trace.read(
            second.address, (slice(kv_head, kv_head + 1), slice(0, len(weights)), slice(feature, feature + 1))
        )
        values = torch.from_numpy(column.copy()).double().reshape(-1)
        terms = [
            Term(
                label=f"key {j}",
                contribution=float(weights[j] * values[j]),
                operands=[
                    self._site(first.address, [head, pos, j], float(weights[j])),
                    self._site(second.address, [kv_head, j, feature], float(values[j])),
                ],
            )
            for j in range(pos + 1)
        ]
        total = math.fsum((weights * values).tolist())
        return Cell(total, terms, rf"{number(total)} = \sum_j a_j v_j")

    def _activation(self, equation: Equation, index: list[int]) -> Cell:
        inner = self._input(equation.inputs[0], index)
        given = torch.tensor([inner.value], dtype=torch.float32, device=self._trace.loaded.device)
        with torch.inference_mode():
            value = float(self._trace.loaded.structure.activate(int(equation.attributes["block"]), given))
        name = rf"\operatorname{{{equation.attributes['function']}}}"
        latex = rf"{number(value)} = {name}\left({number(inner.value)}\right)"
        terms = [
            Term(label=term.label, contribution=value, operands=term.operands) for term in inner.terms[:1]
        ]
        return Cell(value, terms, latex)

    def _multiply(self, equation: Equation, index: list[int]) -> Cell:
        first, second = (self._input(given, index) for given in equation.inputs)
        value = first.value * second.value
        operands = [operand for cell in (first, second) for term in cell.terms for operand in term.operands]
        term = Term(label="product", contribution=value, operands=operands)
        shown = first.latex.split(" = ")[-1]
        return Cell(value, [term], rf"{number(value)} = {shown} \cdot {bracket(number(second.value))}")
