"""Softmax: how a query shares its attention among the keys that it sees."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glassformer.compute.attention_call import compute_probabilities
from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell
from glassformer.operation.formula import FIRST, named, times
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import read_row, site_of
from glassformer.operation.term import Addend, number, one_of, operand_of
from glassformer.protocol.explanation import FunctionPart, NumberPart, Part, SumPart

# Exponentials of larger scores are taken relative to the largest: they would be too large to be read, and to be held.
LARGEST_EXPONENT = 30.0
# Errors of scores beyond this make any share possible.
LARGEST_ERROR = 300.0


class Softmax(Operation):
    """A second input holds a learned logit a head, which takes part in the softmax and in nothing else (a sink)."""

    def whole(self, inputs: Inputs) -> Tensor:
        return compute_probabilities(inputs.whole(0), inputs.whole(1) if inputs.count > 1 else None)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        scores = inputs.bound(0, rounding)
        value, error = scores.value, scores.error
        if inputs.count > 1:
            sinks = inputs.bound(1, rounding).value.view(-1, 1, 1).expand(-1, value.shape[1], 1)
            value = torch.cat([value, sinks], dim=-1)
            error = torch.cat([error, torch.zeros_like(sinks)], dim=-1)
        found = bound_softmax(Bounded(value, error))
        if inputs.count > 1:
            found = found.map(lambda tensor: tensor[..., :-1])
        return rounding.stored(found.value, found.error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        head, query, key = index
        source = site_of(inputs.given(0))
        scores = read_row(inputs.operands, source.address, [head, query])
        cells = [operand_of("site", source.address, [head, query, j], float(s)) for j, s in enumerate(scores)]
        labels = [f"key {j}" for j in range(len(scores))]
        if inputs.count > 1:
            sink, logit = inputs.read(1, [head])
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

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        if len(parts) > 1:
            sink = r"\exp(b_{\mathrm{sink}})"
            return rf"\frac{{\exp({{{parts[0]}}}_j)}}{{\sum_k \exp({{{parts[0]}}}_k) + {sink}}}"
        return rf"\operatorname{{softmax}}_j\left({parts[0]}\right)"


def bound_softmax(scores: Bounded) -> Bounded:
    """The softmax over the last axis before it is stored, with its bound; not to first order, for errors are large."""
    share = scores.value.softmax(-1)
    error = scores.error.clamp(max=LARGEST_ERROR)
    # The most and the least that a share may be: its own score as far off as may be, all others as far the other way.
    least, most = ((share * each.exp()).sum(-1, keepdim=True) for each in (-error, error))
    reach = torch.maximum(error.exp() / least - 1, 1 - (-error).exp() / most)
    below = (scores.value.amax(-1, keepdim=True) - scores.value).masked_fill(share == 0, 0.0)
    unit = sum_unit(share.shape[-1] + 16) + 4 * SUM_UNIT * below
    return Bounded(share, share * (reach + unit))


def exponentials(scores: Tensor) -> tuple[Part, NumberPart]:
    """The exponential of a term's own score, and the sum of those of all `scores`, both as the row needs them."""
    largest = float(scores.max())
    if abs(largest) <= LARGEST_EXPONENT or not math.isfinite(largest):
        total = named(float(scores.exp().sum()), "sum of exponentials")
        return FunctionPart(function="exp", of=FIRST), total
    total = named(float((scores - largest).exp().sum()), "sum of exponentials")
    return FunctionPart(function="exp", of=SumPart(parts=[FIRST, named(-largest, "−largest score")])), total
