"""Route: which experts a position is sent to, and how much each counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell
from glassformer.operation.formula import FIRST, named, times
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import read_row, site_of, weight_of
from glassformer.operation.softmax import exponentials
from glassformer.operation.term import Addend, number, one_of, operand_of
from glassformer.protocol.explanation import FunctionPart, Part


class Route(Operation):
    """See `route` for the attributes; a second input is the correction that takes part in choosing alone."""

    def whole(self, inputs: Inputs) -> Tensor:
        return route(inputs.whole(0), inputs.whole(1) if inputs.count > 1 else None, inputs.attributes)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        logits = inputs.bound(0, rounding)
        correction = inputs.bound(1, rounding).value if inputs.count > 1 else None
        value = route(logits.value, correction, inputs.attributes)
        # Scores, their sum and their quotient may each be stored; how far scores lie apart costs the exponential.
        spread = logits.value.amax(-1, keepdim=True) - logits.value.amin(-1, keepdim=True)
        unit = 2 * sum_unit(value.shape[-1] + 16) + 4 * SUM_UNIT * spread + 3 * rounding.unit
        error = value.abs() * unit
        # Where the last that is chosen and the first that is not are as near as that, either may have been chosen.
        ranked = rank(logits.value, correction, inputs.attributes).sort(-1, descending=True).values
        count = int(inputs.attributes["top_k"])
        if count < ranked.shape[-1]:
            last, next_ = ranked[..., count - 1 : count], ranked[..., count : count + 1]
            is_open = last - next_ <= 2 * unit.amax(-1, keepdim=True) * ranked[..., :1].abs().clamp(min=1.0)
            error = error + torch.where(is_open, value.abs().amax(-1, keepdim=True), 0.0)
        return rounding.stored(value, error)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        pos, expert = index
        source = site_of(inputs.given(0))
        logits = read_row(inputs.operands, source.address, [pos])
        correction = None
        if inputs.count > 1:
            correction = inputs.operands.weight(weight_of(inputs.given(1)).name).detach().double().cpu()
        weights = route(logits[None], correction, inputs.attributes)[0]
        chosen = [j for j in range(len(logits)) if float(weights[j]) != 0.0]
        formula = _write_formula(logits, chosen, inputs.attributes)
        terms = [
            Addend(
                f"expert {j}",
                float(weights[j]),
                (operand_of("site", source.address, [pos, j], float(logits[j])),),
                formula,
            )
            for j in chosen
        ]
        value = float(weights[expert])
        note = f"The terms are the weights of the {len(terms)} experts chosen at this position; the others have none."
        latex = rf"{number(value)} = \operatorname{{route}}\left({number(float(logits[expert]))}\right)"
        return Cell(value, terms, latex, note, one_of(terms, f"expert {expert}", value))

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"\operatorname{{route}}\left({', '.join(parts)}\right)"


def route(logits: Tensor, correction: Tensor | None, attributes: dict[str, Any]) -> Tensor:
    """Weights of experts from router logits [pos, expert]: zero for those not chosen, [pos, expert].

    Scores are the `score` of the logits ("softmax", "sigmoid"), or, for those chosen by the logits themselves, of these
    alone ("softmax_chosen", "sigmoid_chosen"); a correction takes part in choosing and not in the weights (DeepSeek-AI
    2024, section 2.1.2).
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    score = str(attributes["score"])
    scores = _score(wide, score)
    ranked = rank(wide, correction, attributes)
    chosen = ranked.topk(int(attributes["top_k"]), dim=-1).indices
    weights = scores.gather(-1, chosen)
    if score == "softmax_chosen":
        weights = weights.softmax(-1)
    if score == "sigmoid_chosen":
        weights = weights.sigmoid()
    if attributes.get("renormalised"):
        weights = weights / weights.sum(-1, keepdim=True)
    weights = weights * float(attributes.get("factor", 1.0))
    return torch.zeros_like(wide).scatter(-1, chosen, weights)


def rank(logits: Tensor, correction: Tensor | None, attributes: dict[str, Any]) -> Tensor:
    """What experts are chosen by, the largest first, [pos, expert]; minus infinity for those that are shut out."""
    scores = _score(logits, str(attributes["score"]))
    ranked = scores if correction is None else scores + correction
    groups = int(attributes.get("groups", 1))
    return _keep_best_groups(ranked, groups, attributes) if groups > 1 else ranked


def _score(logits: Tensor, score: str) -> Tensor:
    return logits.softmax(-1) if score == "softmax" else logits.sigmoid() if score == "sigmoid" else logits


def _keep_best_groups(ranked: Tensor, groups: int, attributes: dict[str, Any]) -> Tensor:
    """`ranked` with experts outside the best groups of their row shut out."""
    grouped = ranked.view(len(ranked), groups, -1)
    best = grouped.topk(int(attributes["group_experts"]), dim=-1).values.sum(-1)
    kept = best.topk(int(attributes["top_groups"]), dim=-1).indices
    is_kept = torch.zeros_like(best, dtype=torch.bool).scatter(-1, kept, True)
    return grouped.masked_fill(~is_kept[..., None], -torch.inf).view(len(ranked), -1)


def _write_formula(logits: Tensor, chosen: list[int], attributes: dict[str, Any]) -> Part:
    """How the logit of a chosen expert becomes its weight (see `route`)."""
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
