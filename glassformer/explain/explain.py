"""Where one cell comes from: its equation with the real operands, term by term, and the same computed again.

Walks the anatomy's equation of the site; sums are done in float64, so the difference shown is the model's rounding.
Each term brings the formula that computes it from its operands (`formula.py`), and the explanation the one that makes
the cell of the terms: their sum, unless it says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from glassformer.compute.overflow import advise
from glassformer.errors import BadValue, UnknownAddress
from glassformer.explain.operand import Operands, weight_operand
from glassformer.explain.share import share_experts, share_row
from glassformer.operation.cell import Cell, cell_of
from glassformer.operation.equation import (
    allowed,
    rotary_partner,
    spread_table,
)
from glassformer.operation.formula import FIRST, PAIR, TOTAL, add_up, bracket, named, product, times
from glassformer.operation.term import Addend, distinct, label_of, merged_terms, number, scaled
from glassformer.protocol.anatomy import Equation, EquationInput, Input, Site, SiteInput, WeightInput
from glassformer.protocol.explanation import (
    Explanation,
    FunctionPart,
    Operand,
    Part,
    SumPart,
    TermPart,
)

if TYPE_CHECKING:
    from glassformer.run.run import Trace

# Terms listed with their operands; the rest are counted and summed.
LISTED_TERMS = 16


def explain(trace: Trace, address: str, index: list[int]) -> Explanation:
    """Where one cell of a run comes from. Raises UnknownAddress and BadValue (an index out of range)."""
    site = trace.require_site(address)
    shape = trace.shape(site)
    if len(index) != len(shape) or any(not 0 <= i < size for i, size in zip(index, shape, strict=False)):
        ranges = ", ".join(f"{axis} 0..{size - 1}" for axis, size in zip(site.axes, shape, strict=True))
        raise BadValue(f"{address} takes the indices {ranges}.", field="index")
    explanation = explain_cell(trace, site, index)
    explanation.batched_difference = trace.batched_difference
    changes = [given.operation for given in trace.interventions if given.address == address]
    if changes:
        note = f"An intervention changed it ({', '.join(changes)}); the terms are what the model computed before."
        explanation.note = f"{explanation.note} {note}".strip()
    return explanation


def explain_cell(trace: Trace, site: Site, index: list[int]) -> Explanation:
    """`explain` for an index that is in range; knows nothing of what was changed in the run."""
    value = trace.value(site.address, index)
    cell = _Walk(trace).equation(site.equation, index) if site.equation is not None else None
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
        note=note if finite or note else describe_overflow(trace, value),
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


def describe_overflow(trace: Trace, value: float) -> str:
    """What to say of a cell that is infinite or not a number."""
    what = "not a number (NaN)" if math.isnan(value) else "minus infinity" if value < 0 else "infinity"
    dtype = trace.loaded.dtype
    return f"This cell is {what}: {advise(dtype)}." if dtype == torch.float16 else f"This cell is {what}."


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
            "softmax": partial(share_row, self._operands),
            "weighted_sum": self._weighted_sum,
            "activation": self._activation,
            "multiply": self._multiply,
            "route": partial(share_experts, self._operands),
            "sum_experts": self._sum_experts,
        }

    def equation(self, equation: Equation, index: list[int]) -> Cell:
        cell = self._operations[equation.operation](equation, index)
        cell.terms = distinct(cell.terms)
        return cell

    def _input(self, given: Input, index: list[int]) -> Cell:
        """One cell of an input, as a single term where it is a site or a weight."""
        if isinstance(given, EquationInput):
            return self.equation(given.equation, index)
        return cell_of(*self._operands.read(given, index))

    # --- operations --------------------------------------------------------------------------------

    def _lookup(self, equation: Equation, index: list[int]) -> Cell:
        pos, feature = index
        row = self._operands.row_of_table(equation, pos)
        table = equation.inputs[0]
        assert isinstance(table, WeightInput)
        return cell_of(*self._operands.read(table, [row, feature]), label=f"row {row}")

    def _add(self, equation: Equation, index: list[int]) -> Cell:
        cells = [self._input(given, index) for given in equation.inputs]
        total = add_up([cell.value for cell in cells])
        terms: list[Addend] = []
        for given, cell in zip(equation.inputs, cells, strict=True):
            name = given.equation.operation if isinstance(given, EquationInput) else "part"
            terms += cell.terms if cell.result is None else [cell.as_one(name)]
        body = " + ".join(bracket(number(cell.value)) for cell in cells)
        return Cell(total, terms, f"{number(total)} = {body}")

    def _scale(self, equation: Equation, index: list[int]) -> Cell:
        inner = self._input(equation.inputs[0], index)
        factor = float(equation.attributes["factor"])
        value, scale = factor * inner.value, named(factor, "scale")
        latex = rf"{number(value)} = {number(factor)} \cdot {bracket(number(inner.value))}"
        if inner.result is not None:
            return Cell(value, inner.terms, latex, inner.note, times(inner.result, scale))
        return Cell(value, scaled(inner.terms, factor, scale), latex, inner.note)

    def _norm(self, equation: Equation, index: list[int]) -> Cell:
        given, eps = equation.inputs[0], float(equation.attributes["eps"])
        row, place, feature = self._operands.norm_row(equation, index)
        inner = self._input(given, place)
        layer = equation.attributes["norm"] == "layer"
        mean = float(row.mean()) if layer else 0.0
        size = math.sqrt(float((row - mean).pow(2).mean()) + eps) or math.nan
        over = [named(size, "standard deviation" if layer else "root mean square")]
        gain, operands, factors = self._gain(equation, index, feature)
        terms = scaled(
            inner.terms if inner.result is None else [inner.as_one("input")],
            gain / size,
            *factors,
            over=over,
            operands=operands,
        )
        top = f"{number(inner.value)} - {bracket(number(mean))}" if layer else number(inner.value)
        latex = rf"\frac{{{top}}}{{{number(size)}}} \cdot {bracket(number(gain))}"
        if layer:
            centre = Addend("mean", -mean, (), named(-mean, "−mean"))
            terms += scaled([centre], gain / size, *factors, over=over, operands=operands)
        value = (inner.value - mean) * gain / size
        if len(equation.inputs) > 2 and isinstance(equation.inputs[2], WeightInput):
            bias = cell_of(*self._operands.read(equation.inputs[2], [feature]), label="norm bias")
            terms += bias.terms
            value += bias.value
            latex += f" + {bracket(bias.latex)}"
        return Cell(value, terms, f"{number(value)} = {latex}")

    def _gain(
        self, equation: Equation, index: list[int], feature: int
    ) -> tuple[float, list[Operand], list[Part]]:
        """A norm's gain at one feature: its value, its cell and its formula; one, where it has none."""
        if len(equation.inputs) < 2 or not isinstance(equation.inputs[1], WeightInput):
            return 1.0, [], []
        cell = self._operands.gain_index(equation, index, feature)
        operand, value = self._operands.read(equation.inputs[1], cell)
        offset = float(equation.attributes.get("offset", 0.0))
        factor: Part = SumPart(parts=[named(offset, "offset"), FIRST]) if offset else FIRST
        return value + offset, [operand], [factor]

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
        products = (x * row).tolist()
        terms = [
            Addend(
                label_of(place),
                products[j],
                (
                    self._operands.site(source.address, place, float(x[j])),
                    _weight_operand(maps[0], [places[out], j], float(row[j]), transposed=transposed),
                ),
                PAIR,
            )
            for j, place in enumerate(features)
        ]
        total = add_up(products)
        body = r"\sum_j x_j w_j"
        if len(maps) > 1:
            bias = cell_of(*self._operands.read(WeightInput(name=maps[1].name), [places[out]]), label="bias")
            terms += bias.terms
            total += bias.value
            body += f" + {bracket(bias.latex)}"
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
        turned = [
            scaled(cell.terms if cell.result is None else [cell.as_one("input")], factor, named(factor, name))
            for cell, factor, name in ((own, c, "cos"), (other, s, "sin" if sign > 0 else "−sin"))
        ]
        return Cell(value, merged_terms(*turned), f"{number(value)} = {body}")

    def _dot(self, equation: Equation, index: list[int]) -> Cell:
        head, query, key = index
        first, second = equation.inputs
        assert isinstance(first, SiteInput)
        assert isinstance(second, SiteInput)
        kv_head = self._operands.kv_head(head, first, second)
        q = self._operands.row(first, [head, query])
        k = self._operands.row(second, [kv_head, key])
        products = (q * k).tolist()
        terms = [
            Addend(
                f"feature {j}",
                products[j],
                (
                    self._operands.site(first.address, [head, query, j], float(q[j])),
                    self._operands.site(second.address, [kv_head, key, j], float(k[j])),
                ),
                PAIR,
            )
            for j in range(len(q))
        ]
        total = add_up(products)
        return Cell(total, terms, rf"{number(total)} = \sum_d q_d k_d")

    def _softcap(self, equation: Equation, index: list[int]) -> Cell:
        inner, cap = self._input(equation.inputs[0], index), float(equation.attributes["cap"])
        value, limit = cap * math.tanh(inner.value / cap), named(cap, "cap")
        latex = rf"{number(value)} = {number(cap)}\tanh\left(\frac{{{number(inner.value)}}}{{{number(cap)}}}\right)"
        bent = FunctionPart(function="tanh", of=product([inner.result or TOTAL], [limit]))
        return Cell(
            value,
            inner.terms,
            latex,
            f"The terms sum to {inner.value:.4g}, before the soft cap.",
            product([limit, bent]),
        )

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
        products = (weights * values).tolist()
        terms = [
            Addend(
                f"key {j}",
                products[j],
                (
                    self._operands.site(first.address, [head, pos, j], float(weights[j])),
                    self._operands.site(second.address, [kv_head, j, feature], float(values[j])),
                ),
                PAIR,
            )
            for j in range(pos + 1)
        ]
        total = add_up(products)
        return Cell(total, terms, rf"{number(total)} = \sum_j a_j v_j")

    def _activation(self, equation: Equation, index: list[int]) -> Cell:
        inner = self._input(equation.inputs[0], index)
        value = float(self._operands.activate(equation, torch.tensor([inner.value], dtype=torch.float64)))
        function = str(equation.attributes["function"])
        latex = rf"{number(value)} = \operatorname{{{function}}}\left({number(inner.value)}\right)"
        if inner.result is None and len(inner.terms) == 1:
            term = inner.terms[0]
            formula = FunctionPart(function=function, of=term.formula)
            return Cell(value, [Addend(term.label, value, term.operands, formula)], latex)
        result = FunctionPart(function=function, of=inner.result or TOTAL)
        return Cell(value, inner.terms, latex, inner.note, result)

    def _multiply(self, equation: Equation, index: list[int]) -> Cell:
        places = [index, [*index[:-1], 0] if equation.attributes.get("broadcast") else index]
        first, second = (self._input(given, at) for given, at in zip(equation.inputs, places, strict=True))
        value = first.value * second.value
        shown = first.latex.split(" = ")[-1]
        latex = rf"{number(value)} = {shown} \cdot {bracket(number(second.value))}"
        # One of the two is a factor of every term of the other.
        many, one = (second, first) if second.is_sum and not first.is_sum else (first, second)
        factor = one.as_one("factor")
        terms = many.terms if many.is_sum else [replace(many.as_one("product"), label="product")]
        return Cell(
            value, scaled(terms, factor.contribution, factor.formula, operands=factor.operands), latex
        )

    def _sum_experts(self, equation: Equation, index: list[int]) -> Cell:
        """One feature of the experts' sum: each chosen expert is the model's own, run alone on this position."""
        pos, feature = index
        source, weights = equation.inputs
        assert isinstance(weights, SiteInput)
        structure = self._trace.loaded.structure
        x = self._operands.vector(source, [pos]).to(structure.model.device, structure.model.dtype)[None]
        shares = self._operands.row(weights, [pos])
        terms, note = [], "Each term is one expert's output times its weight, the expert run alone."

        def run(expert: int, weight: float) -> torch.Tensor:
            chosen = torch.tensor([[expert]], device=x.device)
            with torch.inference_mode():
                given = torch.tensor([[weight]], device=x.device, dtype=x.dtype)
                out = structure.run_module(str(equation.attributes["module"]), x, chosen, given)
            return out[0].double().cpu()

        for expert in (int(j) for j in shares.nonzero()[:, 0]):
            share = float(shares[expert])
            operand = self._operands.site(weights.address, [pos, expert], share)
            weighted, alone = run(expert, share), run(expert, 1.0)
            formula: Part = product([FIRST, named(float(alone[feature]), "expert's output")])
            contribution = share * float(alone[feature])
            # Some experts are given their weight on the way in, which what they give back need not follow.
            off = float((weighted - share * alone).abs().max())
            if off > 1e3 * torch.finfo(x.dtype).eps * float(weighted.abs().max()):
                contribution = float(weighted[feature])
                formula = named(contribution, "expert's weighted output")
                note = "Each term is what one expert gives at its weight, the expert run alone."
            terms.append(Addend(f"expert {expert}", contribution, (operand,), formula))
        total = add_up([term.contribution for term in terms])
        return Cell(total, terms, rf"{number(total)} = \sum_e w_e\, E_e(x)", note)


def _weight_operand(given: WeightInput, stored: list[int], value: float, *, transposed: bool) -> Operand:
    return weight_operand(given.name, stored[::-1] if transposed else stored, value)
