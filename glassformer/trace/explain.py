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
from glassformer.model.equation import (
    allowed,
    rotary_partner,
    route,
    spread_table,
)
from glassformer.protocol.anatomy import Equation, EquationInput, Input, Site, SiteInput, WeightInput
from glassformer.protocol.messages import Explanation, Operand, Term
from glassformer.trace.operand import Operands
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
        self._operands = Operands(trace, lambda equation, index: self.equation(equation, index).value)
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
            "route": self._route,
            "sum_experts": self._sum_experts,
        }

    def equation(self, equation: Equation, index: list[int]) -> Cell:
        return self._operations[equation.operation](equation, index)

    def _input(self, given: Input, index: list[int]) -> Cell:
        """One cell of an input, as a single term where it is a site or a weight."""
        if isinstance(given, EquationInput):
            return self.equation(given.equation, index)
        operand = self._operands.of(given, index)
        value = math.nan if operand.value is None else operand.value
        return Cell(value, [Term(label=operand.name, contribution=value, operands=[operand])], number(value))

    # --- operations --------------------------------------------------------------------------------

    def _lookup(self, equation: Equation, index: list[int]) -> Cell:
        pos, feature = index
        row = self._operands.row_of_table(equation, pos)
        table = equation.inputs[0]
        assert isinstance(table, WeightInput)
        operand = self._operands.weight(table, [row, feature])
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
        given, eps = equation.inputs[0], float(equation.attributes["eps"])
        row, place, feature = self._operands.norm_row(equation, index)
        inner = self._input(given, place)
        layer = equation.attributes["norm"] == "layer"
        mean = float(row.mean()) if layer else 0.0
        size = math.sqrt(float((row - mean).pow(2).mean()) + eps)
        gain, gain_operands = 1.0, []
        if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
            operand = self._operands.weight(
                equation.inputs[1], self._operands.gain_index(equation, index, feature)
            )
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
            bias = self._operands.weight(equation.inputs[2], [feature])
            terms.append(Term(label="bias", contribution=bias.value or 0.0, operands=[bias]))
            value += bias.value or 0.0
            latex += f" + {bracket(number(bias.value or 0.0))}"
        return Cell(value, terms, f"{number(value)} = {latex}")

    def _matmul(self, equation: Equation, index: list[int]) -> Cell:
        heads, transposed = equation.attributes.get("heads"), bool(equation.attributes.get("transposed"))
        maps = [given for given in equation.inputs[1:] if isinstance(given, WeightInput)]
        source, weight, _ = self._operands.map_parts(equation)
        places = self._operands.stored_rows(equation, maps[0])
        if heads:
            head, pos, within = index
            out = head * (weight.shape[0] // int(heads)) + within
        else:
            pos, out = index
        x, features = self._operands.features(
            source.address, pos, merged=bool(equation.attributes.get("merge_heads"))
        )
        row = weight[out].double().cpu()
        products = x * row
        terms = [
            Term(
                label=label_of(place),
                contribution=float(products[j]),
                operands=[
                    self._operands.site(source.address, place, float(x[j])),
                    _weight_operand(maps[0], [places[out], j], float(row[j]), transposed=transposed),
                ],
            )
            for j, place in enumerate(features)
        ]
        total = math.fsum(products.tolist())
        body = r"\sum_j x_j w_j"
        if len(maps) > 1:
            bias = self._operands.weight(WeightInput(name=maps[1].name), [places[out]])
            terms.append(Term(label="bias", contribution=bias.value or 0.0, operands=[bias]))
            total += bias.value or 0.0
            body += f" + {bracket(number(bias.value or 0.0))}"
        return Cell(total, terms, f"{number(total)} = {body}")

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
        kv_head = self._operands.kv_head(head, first, second)
        q = self._operands.row(first, [head, query])
        k = self._operands.row(second, [kv_head, key])
        terms = [
            Term(
                label=f"d_head {j}",
                contribution=float(q[j] * k[j]),
                operands=[
                    self._operands.site(first.address, [head, query, j], float(q[j])),
                    self._operands.site(second.address, [kv_head, key, j], float(k[j])),
                ],
            )
            for j in range(len(q))
        ]
        total = math.fsum((q * k).tolist())
        return Cell(total, terms, rf"{number(total)} = \sum_d q_d k_d")

    def _softcap(self, equation: Equation, index: list[int]) -> Cell:
        inner, cap = self._input(equation.inputs[0], index), float(equation.attributes["cap"])
        value = cap * math.tanh(inner.value / cap)
        latex = rf"{number(value)} = {number(cap)}\tanh\left(\frac{{{number(inner.value)}}}{{{number(cap)}}}\right)"
        return Cell(value, inner.terms, latex, f"The terms sum to {inner.value:.4g}, before the soft cap.")

    def _mask(self, equation: Equation, index: list[int]) -> Cell:
        window, chunk = (equation.attributes.get(name) for name in ("window", "chunk"))
        if equation.attributes.get("pattern") == "model":
            is_open = math.isfinite(self._operands.own_score(int(equation.attributes["block"]), index))
        else:
            is_open = allowed(
                index[-2],
                index[-1],
                None if window is None else int(window),
                None if chunk is None else int(chunk),
            )
        if not is_open:
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
        scores = self._operands.row(source, [head, query])
        shares = torch.softmax(scores, dim=0)
        if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
            sink = self._operands.weight(equation.inputs[1], [head]).value or 0.0
            shares = torch.softmax(torch.cat([scores, torch.tensor([sink], dtype=torch.float64)]), dim=0)[:-1]
        terms = [
            Term(
                label=f"key {j}",
                contribution=float(shares[j]),
                operands=[self._operands.site(source.address, [head, query, j], float(scores[j]))],
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
        kv_head = self._operands.kv_head(head, first, second)
        weights = self._operands.row(first, [head, pos])
        column = self._trace.read(
            second.address, (slice(kv_head, kv_head + 1), slice(0, len(weights)), slice(feature, feature + 1))
        )
        values = torch.from_numpy(column.copy()).double().reshape(-1)
        terms = [
            Term(
                label=f"key {j}",
                contribution=float(weights[j] * values[j]),
                operands=[
                    self._operands.site(first.address, [head, pos, j], float(weights[j])),
                    self._operands.site(second.address, [kv_head, j, feature], float(values[j])),
                ],
            )
            for j in range(pos + 1)
        ]
        total = math.fsum((weights * values).tolist())
        return Cell(total, terms, rf"{number(total)} = \sum_j a_j v_j")

    def _activation(self, equation: Equation, index: list[int]) -> Cell:
        inner = self._input(equation.inputs[0], index)
        value = float(self._operands.activate(equation, torch.tensor([inner.value], dtype=torch.float64)))
        name = rf"\operatorname{{{equation.attributes['function']}}}"
        latex = rf"{number(value)} = {name}\left({number(inner.value)}\right)"
        terms = [
            Term(label=term.label, contribution=value, operands=term.operands) for term in inner.terms[:1]
        ]
        return Cell(value, terms, latex)

    def _multiply(self, equation: Equation, index: list[int]) -> Cell:
        places = [index, [*index[:-1], 0] if equation.attributes.get("broadcast") else index]
        first, second = (self._input(given, at) for given, at in zip(equation.inputs, places, strict=True))
        value = first.value * second.value
        operands = [operand for cell in (first, second) for term in cell.terms for operand in term.operands]
        term = Term(label="product", contribution=value, operands=operands)
        shown = first.latex.split(" = ")[-1]
        return Cell(value, [term], rf"{number(value)} = {shown} \cdot {bracket(number(second.value))}")

    def _route(self, equation: Equation, index: list[int]) -> Cell:
        """The weight of one expert: what its logits, and those of the others at this position, leave it."""
        pos, expert = index
        source = equation.inputs[0]
        assert isinstance(source, SiteInput)
        logits = self._operands.row(source, [pos])
        correction = None
        if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
            correction = self._trace.loaded.structure.parameter(equation.inputs[1].name).double().cpu()
        weights = route(logits[None], correction, equation.attributes)[0]
        terms = [
            Term(
                label=f"expert {j}",
                contribution=float(weights[j]),
                operands=[self._operands.site(source.address, [pos, j], float(logits[j]))],
            )
            for j in range(len(logits))
            if float(weights[j]) != 0.0
        ]
        value = float(weights[expert])
        note = f"The terms are the weights of the {len(terms)} experts chosen at this position; the others have none."
        return Cell(
            value,
            terms,
            rf"{number(value)} = \operatorname{{route}}\left({number(float(logits[expert]))}\right)",
            note,
        )

    def _sum_experts(self, equation: Equation, index: list[int]) -> Cell:
        """One feature of the experts' sum: each chosen expert is the model's own, run alone on this position."""
        pos, feature = index
        source, weights = equation.inputs
        assert isinstance(weights, SiteInput)
        structure = self._trace.loaded.structure
        x = self._operands.vector(source, [pos]).to(structure.model.device, structure.model.dtype)[None]
        shares = self._operands.row(weights, [pos])
        terms = []
        for expert in (int(j) for j in shares.nonzero()[:, 0]):
            chosen = torch.tensor([[expert]], device=x.device)
            share = float(shares[expert])
            with torch.inference_mode():
                given = torch.tensor([[share]], device=x.device, dtype=x.dtype)
                out = structure.run_module(str(equation.attributes["module"]), x, chosen, given)
            operand = self._operands.site(weights.address, [pos, expert], share)
            terms.append(
                Term(label=f"expert {expert}", contribution=float(out[0, feature]), operands=[operand])
            )
        total = math.fsum(term.contribution for term in terms)
        note = "Each term is one expert's output times its weight, the expert run alone."
        return Cell(total, terms, rf"{number(total)} = \sum_e w_e\, E_e(x)", note)


def _weight_operand(given: WeightInput, stored: list[int], value: float, *, transposed: bool) -> Operand:
    return Operand(kind="weight", name=given.name, index=stored[::-1] if transposed else stored, value=value)
