"""The messages of a shape: a model drawn from its config alone, without weights.

Blocks that are alike are described once. `BlockTemplate.blocks` says which they are; each of them is the template with
its own number in its addresses (`q.0` becomes `q.7`) and in the names of its weights, after `ModelShape.stem`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from glassformer.protocol.anatomy import Anatomy, Block
from glassformer.protocol.message import Message

PartKind = Literal[
    "embedding",
    "position",
    "attention",
    "mixer",
    "mlp",
    "router",
    "experts",
    "shared_experts",
    "norm",
    "head",
    "other",
]


class PartSize(Message):
    """How many numbers one part of a model holds, and how many of them one token passes through."""

    kind: PartKind
    parameters: int
    active: int


class BlockTemplate(Message):
    """Blocks that are alike: the first of them as it is, and the numbers of all."""

    block: Block
    blocks: list[int]
    parts: list[PartSize] = Field(description="of one such block")


class ModelShape(Message):
    """A model drawn from its config: what an anatomy says of sizes, with each kind of block once."""

    shape_id: str
    source: Literal["bundled", "model", "file"]
    anatomy: Anatomy = Field(description="`blocks` is empty: they are in `templates`")
    stem: str = Field(description="what stands before a block's number in the names of its weights")
    templates: list[BlockTemplate]
    parts: list[PartSize] = Field(description="of what is outside the blocks")
    active: int = Field(
        description="parameters that one token passes through: of the experts the chosen ones"
    )
    cached: int = Field(description="numbers of keys and values that attention is handed for each position")
    latent: int | None = Field(
        default=None,
        description="numbers that stand for them where they are kept compressed (latent attention)",
    )


class ShapeSummary(Message):
    """A shape that is offered by name."""

    shape_id: str
    title: str
    description: str
    parameters: int = Field(description="as published, rounded by its makers")


class ShapeList(Message):
    """The shapes that ship with the program; any model that is offered here has one too, under its own id."""

    shapes: list[ShapeSummary]
    most_beside: int = Field(description="how many the page shows side by side")
