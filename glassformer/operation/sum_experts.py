"""Sum of experts: what each chosen expert makes of a position, as much as it counts there.

The experts are the model's own module, since families differ in what they hand to it and in how it is written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import FIRST, add_up, named, product
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import site_of
from glassformer.operation.term import Addend, number, operand_of
from glassformer.protocol.explanation import Part


class SumExperts(Operation):
    """`module` names the experts; the inputs are what they read and the weights [pos, expert]."""

    def whole(self, inputs: Inputs) -> Tensor:
        x, weights = inputs.whole(0), inputs.whole(1)
        chosen, picked = _choose(weights)
        return inputs.operands.run_module(_name(inputs), x, chosen, picked.to(x.dtype))

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        """By the model's own experts; nothing is allowed for what they store inside, which is not seen."""
        x, weights = inputs.whole(0), inputs.whole(1)
        chosen, picked = _choose(weights)
        count = chosen.shape[1]
        size = torch.zeros_like(x, dtype=torch.float64)
        for slot in range(count):
            one = slice(slot, slot + 1)
            part = inputs.operands.run_module(_name(inputs), x, chosen[:, one], picked[:, one].to(x.dtype))
            size = size + part.double().abs()
        value = self.whole(inputs).double()
        # The order in which they are added is not known.
        return rounding.stored(value, (count + 2) * rounding.unit * size)

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        """Each chosen expert is the model's own, run alone on this position."""
        pos, feature = index
        weights = site_of(inputs.given(1))
        x, shares = inputs.row(0, [pos])[None], inputs.row(1, [pos])
        terms, note = [], "Each term is one expert's output times its weight, the expert run alone."

        def run(expert: int, weight: float) -> tuple[Tensor, float]:
            chosen, given = torch.tensor([[expert]]), torch.tensor([[weight]], dtype=torch.float64)
            out = inputs.operands.run_module(_name(inputs), x, chosen, given)
            return out[0].double().cpu(), torch.finfo(out.dtype).eps

        for expert in (int(j) for j in shares.nonzero()[:, 0]):
            share = float(shares[expert])
            operand = operand_of("site", weights.address, [pos, expert], share)
            (weighted, eps), (alone, _) = run(expert, share), run(expert, 1.0)
            formula: Part = product([FIRST, named(float(alone[feature]), "expert's output")])
            contribution = share * float(alone[feature])
            # Some experts are given their weight on the way in, which what they give back need not follow.
            off = float((weighted - share * alone).abs().max())
            if off > 1e3 * eps * float(weighted.abs().max()):
                contribution = float(weighted[feature])
                formula = named(contribution, "expert's weighted output")
                note = "Each term is what one expert gives at its weight, the expert run alone."
            terms.append(Addend(f"expert {expert}", contribution, (operand,), formula))
        total = add_up([term.contribution for term in terms])
        return Cell(total, terms, rf"{number(total)} = \sum_e w_e\, E_e(x)", note)

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"\operatorname{{sum\_experts}}\left({', '.join(parts)}\right)"


def _name(inputs: Inputs) -> str:
    return str(inputs.attributes["module"])


def _choose(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The experts of each position, as many for each, and their weights."""
    chosen = weights.abs().topk(int((weights != 0).sum(-1).max()), dim=-1).indices
    return chosen, weights.gather(-1, chosen)
