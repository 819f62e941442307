"""Does what an explanation shows compute? Each formula is evaluated with the operands as shown, in float64."""

import math
from collections.abc import Callable

import torch

from glassformer.operation.activation import FUNCTIONS
from glassformer.operation.formula import evaluate
from glassformer.protocol.explanation import Explanation

# Rounding of a few float64 operations, relative to what is summed.
TOLERANCE = 1e-12

Activate = Callable[[torch.Tensor], torch.Tensor]


def find_slip(explanation: Explanation, activate: Activate | None = None) -> str | None:
    """What does not add up; None where every term is what its formula gives, and the terms give the value.

    `activate` is the block's own activation, for names that only the model knows.
    """

    def apply(function: str, x: float) -> float:
        given = torch.tensor(x, dtype=torch.float64)
        if function == "exp":
            return math.exp(x)
        if function == "tanh":
            return math.tanh(x)
        if function == "sigmoid":
            return float(given.sigmoid())
        known = FUNCTIONS.get(function)
        if known is None and activate is None:
            raise AssertionError(f"nobody knows the function {function}")
        return float((known or activate)(given[None])[0])  # type: ignore[misc]

    if explanation.recomputed is None:
        return None
    labels = [term.label for term in explanation.terms]
    if len(set(labels)) < len(labels):
        return f"two terms have the same label: {labels}"
    for term in explanation.terms:
        found = evaluate(term.formula, term.operands, apply)
        if term.contribution is None or not is_close(found, term.contribution, abs(found)):
            return f"{term.label} is said to be {term.contribution}, and its formula gives {found}"
    contributions = [term.contribution or 0.0 for term in explanation.terms] + [explanation.rest_sum or 0.0]
    total = math.fsum(contributions)
    terms = {term.label: term.contribution for term in explanation.terms}
    value = evaluate(explanation.result, [], apply, total=total, terms=terms)
    size = max(map(abs, contributions)) * (len(contributions) + explanation.rest_count)
    if not is_close(value, explanation.recomputed, max(size, abs(value))):
        return f"the terms give {value}, and {explanation.recomputed} is said"
    return None


def is_close(found: float, said: float, size: float) -> bool:
    return abs(found - said) <= TOLERANCE * size + 1e-300
