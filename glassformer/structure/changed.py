"""Where an adapter changes a block's matrices, and where what its A makes can be read: a point for each role."""

from __future__ import annotations

from collections.abc import Iterator

from glassformer.compute.lora import Changed
from glassformer.structure.role import Hook, Refusal
from glassformer.structure.structure import Structure

PREFIX = "lora_"
# The point that a changed matrix of each role reads; of `o` by heads.
READ_BY = {
    "q": "attn_in",
    "k": "attn_in",
    "v": "attn_in",
    "qkv": "attn_in",
    "o": "z",
    "gate": "mlp_in",
    "up": "mlp_in",
    "gate_up": "mlp_in",
    "down": "mlp_act",
}
CHANGE_POINTS = tuple(PREFIX + role for role in READ_BY)


def list_changes(structure: Structure, block: int) -> Iterator[tuple[str, Changed]]:
    """The changed matrices of a block, each once, with the point at which A's product is read."""
    seen: set[int] = set()
    for found in (structure.attention_projections(block), structure.mlp_projections(block)):
        if isinstance(found, Refusal):
            continue
        for role, projection in found.items():
            module = projection.module
            if isinstance(module, Changed) and id(module) not in seen:
                seen.add(id(module))
                shared = "qkv" if role in ("q", "k", "v") else "gate_up"
                yield PREFIX + (shared if projection.is_shared else role), module


def find_change_point(structure: Structure, module: Changed) -> str | None:
    """The address at which the product of a changed matrix's A is read; None where its role is not known."""
    for block, holder in enumerate(structure.blocks):
        if any(part is module for part in holder.modules()):
            points = (point for point, changed in list_changes(structure, block) if changed is module)
            return next((f"{point}.{block}" for point in points), None)
    return None


def find_change(structure: Structure, point: str, block: int) -> Changed | None:
    """The changed matrix of a block that has this point."""
    if not any(isinstance(module, Changed) for module in structure.blocks[block].modules()):
        return None
    return next((changed for found, changed in list_changes(structure, block) if found == point), None)


def locate_change(structure: Structure, point: str, block: int) -> Hook | Refusal:
    """Where what A makes is read, or that nothing is changed there."""
    changed = find_change(structure, point, block)
    return Refusal("no adapter changes this matrix") if changed is None else Hook(changed.lora_A, "output")
