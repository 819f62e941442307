"""Cells that are one share of many: of a row of attention, or of the experts chosen for a position."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glassformer.explain.operand import Operands
from glassformer.operation.cell import Cell
from glassformer.operation.equation import route
from glassformer.operation.formula import FIRST, named, times
from glassformer.operation.term import Addend, number
from glassformer.protocol.anatomy import Equation, SiteInput, WeightInput
from glassformer.protocol.explanation import FunctionPart, NumberPart, Part, SumPart, TermPart

# Exponentials of larger scores are taken relative to the largest: they would be too large to be read, and to be held.
LARGEST_EXPONENT = 30.0


def share_row(operands: Operands, equation: Equation, index: list[int]) -> Cell:
    """A cell of a softmax over keys, among the shares of the whole row and of its sink, if there is one."""
    head, query, key = index
    source = equation.inputs[0]
    assert isinstance(source, SiteInput)
    scores = operands.row(source, [head, query])
    cells = [operands.site(source.address, [head, query, j], float(score)) for j, score in enumerate(scores)]
    labels = [f"key {j}" for j in range(len(scores))]
    if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
        sink, logit = operands.read(equation.inputs[1], [head])
        cells.append(sink)
        labels.append("sink")
        scores = torch.cat([scores, torch.tensor([logit], dtype=torch.float64)])
    shares = torch.softmax(scores, dim=0).tolist()
    exponential, total = exponentials(scores)
    formula = times(exponential, over=[total])
    terms = [
        Addend(label, share, (operand,), formula)
        for label, share, operand, score in zip(labels, shares, cells, scores.tolist(), strict=True)
        if score != -math.inf
    ]
    value, own = shares[key], number(float(scores[key]))
    below, note = (
        r"\sum_j e^{s_j}",
        "The terms are the shares of all keys in this row, which the softmax makes sum to one.",
    )
    if labels[-1] == "sink":
        below += rf" + e^{{{number(float(scores[-1]))}}}"
        note = (
            f"The terms are the shares of all keys in this row and of its learned sink, which stands in the "
            f"softmax like one more key and carries nothing: {shares[-1]:.1%} of this row went to the sink, "
            f"and the keys share the other {1 - shares[-1]:.1%}."
        )
    latex = rf"{number(value)} = \frac{{e^{{{own}}}}}{{{below}}}"
    return Cell(value, terms, latex, note, one_of(terms, labels[key], value))


def share_experts(operands: Operands, equation: Equation, index: list[int]) -> Cell:
    """The weight of one expert: what its logits, and those of the others at this position, leave it."""
    pos, expert = index
    source = equation.inputs[0]
    assert isinstance(source, SiteInput)
    logits = operands.row(source, [pos])
    correction = None
    if len(equation.inputs) > 1 and isinstance(equation.inputs[1], WeightInput):
        correction = operands.parameter(equation.inputs[1].name).double().cpu()
    weights = route(logits[None], correction, equation.attributes)[0]
    chosen = [j for j in range(len(logits)) if float(weights[j]) != 0.0]
    formula = route_formula(logits, chosen, equation)
    terms = [
        Addend(
            f"expert {j}",
            float(weights[j]),
            (operands.site(source.address, [pos, j], float(logits[j])),),
            formula,
        )
        for j in chosen
    ]
    value = float(weights[expert])
    note = f"The terms are the weights of the {len(terms)} experts chosen at this position; the others have none."
    latex = rf"{number(value)} = \operatorname{{route}}\left({number(float(logits[expert]))}\right)"
    return Cell(value, terms, latex, note, one_of(terms, f"expert {expert}", value))


def exponentials(scores: Tensor) -> tuple[Part, NumberPart]:
    """The exponential of a term's own score, and the sum of those of all `scores`, both as the row needs them."""
    largest = float(scores.max())
    if abs(largest) <= LARGEST_EXPONENT or not math.isfinite(largest):
        total = named(float(scores.exp().sum()), "sum of exponentials")
        return FunctionPart(function="exp", of=FIRST), total
    total = named(float((scores - largest).exp().sum()), "sum of exponentials")
    return FunctionPart(function="exp", of=SumPart(parts=[FIRST, named(-largest, "−largest score")])), total


def route_formula(logits: Tensor, chosen: list[int], equation: Equation) -> Part:
    """How the logit of a chosen expert becomes its weight (see `equation.route`)."""
    attributes = equation.attributes
    score = str(attributes["score"])
    if score.startswith("softmax"):
        exponential, total = exponentials(logits if score == "softmax" else logits[chosen])
        formula: Part = times(exponential, over=[total])
    else:
        formula = FunctionPart(function="sigmoid", of=FIRST) if score.startswith("sigmoid") else FIRST
    if attributes.get("renormalised"):
        scores = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid()}.get(score, logits)[chosen]
        if score.endswith("_chosen"):
            scores = logits[chosen].softmax(-1) if score.startswith("softmax") else logits[chosen].sigmoid()
        formula = times(formula, over=[named(float(scores.sum()), "sum of the chosen")])
    factor = float(attributes.get("factor", 1.0))
    return formula if factor == 1.0 else times(formula, named(factor, "factor"))


def one_of(terms: list[Addend], label: str, value: float) -> Part:
    """The term that the cell is; the bare value where there is no such term."""
    return TermPart(label=label) if any(term.label == label for term in terms) else named(value, "share")
