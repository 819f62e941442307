"""Equations over small tensors, one for every operation, attribute and awkward case, and the cells to explain of each.

The page makes explanations of its own where it has no server; what Python says of these cells is what it must say.
"""

from collections.abc import Iterator

import torch
from attention_cases import add_mixes, add_probabilities, add_rotary, add_scores
from awkward_cases import add_not_finite, add_roundings
from cell_case import D_HEAD, D_MODEL, HEADS, KV_HEADS, POSITIONS, VOCAB, Cases
from expert_cases import add_experts, add_routes
from memory_operands import MemoryOperands
from stream_cases import add_activations, add_lookups, add_maps, add_norms, add_products, add_scales, add_sums

from glassformer.protocol.anatomy import Equation, EquationInput


def make_cases() -> Cases:
    """All cases, the same numbers each time."""
    torch.manual_seed(7)
    made = Cases(MemoryOperands(tokens=[(7 * at + 3) % VOCAB for at in range(POSITIONS)]))
    made.site("x", torch.randn(POSITIONS, D_MODEL))
    made.site("y", torch.randn(POSITIONS, D_MODEL))
    made.site("by_heads", torch.randn(HEADS, POSITIONS, D_HEAD))
    made.site("q", torch.randn(HEADS, POSITIONS, D_HEAD))
    made.site("k", torch.randn(KV_HEADS, POSITIONS, D_HEAD))
    made.site("v", torch.randn(KV_HEADS, POSITIONS, D_HEAD))
    for add in (
        add_lookups,
        add_sums,
        add_scales,
        add_norms,
        add_maps,
        add_rotary,
        add_scores,
        add_probabilities,
        add_mixes,
        add_activations,
        add_products,
        add_routes,
        add_experts,
        add_not_finite,
        add_roundings,
    ):
        add(made)
    return made


def list_equations(made: Equation) -> Iterator[Equation]:
    """An equation and all that are nested in it."""
    yield made
    for given in made.inputs:
        if isinstance(given, EquationInput):
            yield from list_equations(given.equation)
