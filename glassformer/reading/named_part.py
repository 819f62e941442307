"""The parts of a model that write to the stream, and the words of a text: what can be switched off for one decision.

A part's name on the wire is its kind, its block and its number (`head.24.4`, `mlp.3`), of a word its position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from glassformer.errors import BadValue
from glassformer.protocol.reading import PART_NAME
from glassformer.run.run import Run
from glassformer.structure.module import count_experts

Kind = Literal["token", "attention", "head", "mlp", "expert", "mixer"]
# The site where what a part writes stands.
POINTS: dict[Kind, str] = {"attention": "attn_out", "mixer": "attn_out", "head": "z", "mlp": "mlp_out"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of block `block`; `number` is that of a head or an expert. Of a word (`token`) it is the position."""

    kind: Kind
    block: int = 0
    number: int | None = None

    @property
    def name(self) -> str:
        """Its name on the wire."""
        numbers = [self.number] if self.kind == "token" else [self.block, self.number]
        return ".".join([self.kind, *(str(number) for number in numbers if number is not None)])


def parse_part(name: str) -> Part:
    """The part of that name. Raises BadValue for what is no name of a part."""
    if not re.fullmatch(PART_NAME, name):
        raise BadValue(
            f"{name[:40]!r} is no part; parts are named as head.24.4, mlp.3, attention.24, expert.5.17, mixer.2 and "
            "token.17.",
            field="part",
        )
    kind, first, *rest = name.split(".")
    if kind == "token":
        return Part("token", number=int(first))
    return Part(cast(Kind, kind), int(first), int(rest[0]) if rest else None)


def find_fault(run: Run, part: Part) -> str | None:
    """Why a part of a block cannot be switched off, a clause without its full stop; None where it can.

    Checks the block, if it has not been checked.
    """
    structure = run.loaded.structure
    blocks = len(structure.blocks)
    if part.block >= blocks:
        return f"there is no block {part.block}: the blocks are 0 to {blocks - 1}"
    has_attention = is_attending(run, part.block)
    if part.kind in ("attention", "head") and not has_attention:
        return f"block {part.block} has no attention"
    if part.kind == "mixer" and has_attention:
        return f"what mixes positions in block {part.block} is attention"
    if part.kind == "expert":
        return find_expert_fault(run, part)
    address = f"{POINTS[part.kind]}.{part.block}"
    site = run.find_site(address)
    if site is None:
        return f"block {part.block} has no {part.kind}"
    if site.check.status == "refused":
        return f"{address} is refused: {site.check.reason}"
    heads = structure.heads(part.block)[0]
    if part.kind == "head" and (part.number or 0) >= heads:
        return f"the heads of block {part.block} are 0 to {heads - 1}"
    return None


def is_attending(run: Run, block: int) -> bool:
    """Whether what mixes positions in a block is attention: it has probabilities."""
    return f"attn_probs.{block}" in run.sites


def find_expert_fault(run: Run, part: Part) -> str | None:
    experts = run.loaded.structure.experts(part.block)
    if experts is None:
        return f"block {part.block} has no experts that can be told apart"
    count = count_experts(experts.experts)
    if count is None:
        return f"block {part.block} does not tell how many experts it has"
    if (part.number or 0) >= count:
        return f"the experts of block {part.block} are 0 to {count - 1}"
    return None


def list_parts(run: Run, block: int) -> tuple[list[Part], dict[Kind, str]]:
    """The parts of a block but its experts, whole ones first; and of those kinds that cannot be had, why.

    Checks the block, if it has not been checked.
    """
    structure = run.loaded.structure
    parts: list[Part] = []
    refused: dict[Kind, str] = {}
    kinds: tuple[Kind, ...] = ("attention", "mlp", "head") if is_attending(run, block) else ("mixer", "mlp")
    for kind in kinds:
        site = run.find_site(f"{POINTS[kind]}.{block}")
        if site is None:
            continue
        if site.check.status == "refused":
            refused[kind] = f"{site.address} is refused: {site.check.reason}."
        elif kind == "head":
            parts += [Part("head", block, head) for head in range(structure.heads(block)[0])]
        else:
            parts.append(Part(kind, block))
    return parts, refused
