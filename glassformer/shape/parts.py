"""How many numbers each part of a model holds: its embedding, and in each block attention, MLP, experts and norms.

Every parameter counts once, where the first of its names lies: a tied output table is part of the embedding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import nn

from glassformer.protocol.anatomy import Weight
from glassformer.protocol.shape import PartKind, PartSize
from glassformer.structure.module import count_experts, is_norm
from glassformer.structure.role import Experts
from glassformer.structure.structure import Structure

ORDER: tuple[PartKind, ...] = (
    "embedding",
    "position",
    "attention",
    "mixer",
    "router",
    "experts",
    "shared_experts",
    "mlp",
    "norm",
    "head",
    "other",
)
OUTSIDE: dict[str, PartKind] = {
    "token_embedding": "embedding",
    "position_embedding": "position",
    "final_norm": "norm",
    "unembedding": "head",
}


def count_outside(weights: Iterable[Weight], structure: Structure) -> list[PartSize]:
    """The parts outside the blocks."""
    counts: Counter[PartKind] = Counter()
    for weight in weights:
        if weight.block is None and weight.tied_to is None:
            counts[OUTSIDE.get(weight.role, "other")] += structure.stored(weight.name).numel()
    return list_parts(counts, counts)


def count_block(structure: Structure, block: int, *, attends: bool) -> list[PartSize]:
    """The parts of one block; what it shares with an earlier one is counted there. `attends`: with keys and values."""
    experts = structure.experts(block)
    homes = list_homes(structure, block, experts, attends=attends)
    counts: Counter[PartKind] = Counter()
    seen = {id(parameter) for before in structure.blocks[:block] for parameter in before.parameters()}

    def walk(module: nn.Module, kind: PartKind) -> None:
        kind = homes.get(id(module), kind)
        if kind == "other" and is_norm(module):
            kind = "norm"
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                counts[kind] += parameter.numel()
        for child in module.children():
            walk(child, kind)

    walk(structure.blocks[block], "other")
    active = Counter(counts)
    if experts is not None:
        chosen, count = choose_count(structure, block, experts)
        active["experts"] = counts["experts"] * chosen // count
    return list_parts(counts, active)


def list_homes(
    structure: Structure, block: int, experts: Experts | None, *, attends: bool
) -> dict[int, PartKind]:
    """The part that a module of a block begins, by the module's id; those inside belong to it too."""
    homes: dict[int, PartKind] = {}
    projections = structure.mlp_projections(block)
    if isinstance(projections, dict):
        homes |= {id(projection.module): "mlp" for projection in projections.values()}
    holder = structure.mlp_holder(block)
    if holder is not None and holder is not structure.blocks[block]:
        homes[id(holder)] = "mlp"
    mixer, attention = structure.mixer(block), structure.attention(block)
    if isinstance(mixer, nn.Module):
        homes[id(mixer)] = "mixer"
    if isinstance(attention, nn.Module):
        homes[id(attention)] = "attention" if attends else "mixer"
    if experts is not None:
        homes[id(experts.experts)] = "experts"
        if experts.router is not None:
            homes[id(experts.router)] = "router"
        for shared in (experts.shared, experts.shared_gate):
            if shared is not None:
                homes[id(shared)] = "shared_experts"
    homes.pop(id(structure.blocks[block]), None)
    return homes


def choose_count(structure: Structure, block: int, experts: Experts) -> tuple[int, int]:
    """How many experts a position chooses, and of how many; all of them where neither is known."""
    count = count_experts(experts.experts)
    chosen = next(iter(structure.choice_counts(block)), 0)
    return (min(chosen, count), count) if chosen and count else (1, 1)


def list_parts(counts: Counter[PartKind], active: Counter[PartKind]) -> list[PartSize]:
    return [
        PartSize(kind=kind, parameters=counts[kind], active=active[kind]) for kind in ORDER if counts[kind]
    ]
