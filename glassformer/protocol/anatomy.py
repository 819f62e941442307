"""The messages that describe a model: its sites with their equations and checks, its weights and its blocks.

Shapes are lists in the order of `axes`; `None` in a shape is the axis that grows with the recorded positions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from glassformer.protocol.message import Message

Axis = Literal[
    "batch",
    "pos",
    "query",
    "key",
    "head",
    "kv_head",
    "d_head",
    "d_model",
    "d_mlp",
    "expert",
    "channel",
    "rank",
    "vocab",
    "row",
    "column",
]
Provenance = Literal["recorded", "captured", "recomputed", "rebuilt"]
CheckStatus = Literal["unchecked", "exact", "close", "undecided", "refused", "shape"]
Role = Literal[
    "token_embedding",
    "position_embedding",
    "attn_norm",
    "q",
    "k",
    "v",
    "qkv",
    "q_norm",
    "k_norm",
    "o",
    "mlp_norm",
    "gate",
    "gate_up",
    "up",
    "down",
    "final_norm",
    "unembedding",
    "lora_a",
    "lora_b",
    "other",
]
Operation = Literal[
    "lookup",
    "add",
    "scale",
    "norm",
    "matmul",
    "rotary",
    "dot",
    "softcap",
    "mask",
    "softmax",
    "weighted_sum",
    "activation",
    "multiply",
    "route",
    "sum_experts",
]


class SiteInput(Message):
    """A site another site is computed from."""

    kind: Literal["site"] = "site"
    address: str


class WeightInput(Message):
    """A weight (or a run of its output features) that a site is computed from."""

    kind: Literal["weight"] = "weight"
    name: str
    start: int | None = Field(
        default=None, description="first output feature used (a fused projection), None = all"
    )
    stop: int | None = None


class EquationInput(Message):
    """An intermediate value that has no address of its own."""

    kind: Literal["equation"] = "equation"
    equation: Equation


Input = Annotated[SiteInput | WeightInput | EquationInput, Field(discriminator="kind")]


class Equation(Message):
    """How a value is computed: one operation of a closed set on inputs, in order.

    `attributes` holds the operation's constants: `eps`, `scale`, `function`, `heads`, `window`, `norm`
    ("rms" or "layer"), `transposed` (the weight is stored d_in x d_out).
    """

    operation: Operation
    inputs: list[Input]
    attributes: dict[str, Any] = Field(default_factory=dict)
    latex: str = ""


class WorstCell(Message):
    """The cell that is furthest from its equation, counted in what rounding explains there."""

    index: list[int]
    difference: float
    bound: float = Field(description="how far rounding alone may have brought it; twice that is accepted")


class Check(Message):
    """The result of running a site's own equation against what the model computed.

    `exact`: the same bits. `close`: every cell is within what rounding explains (`worst` says how far). `undecided`: so
    are other equations, and these values cannot tell them apart. `refused`: it is not shown. `unchecked` is a site
    whose turn has not come; whoever asks for its values has it checked first. `shape`: there is nothing to check, since
    the model is drawn from its config alone and has no weights here.
    """

    status: CheckStatus
    max_abs_difference: float | None = None
    worst: WorstCell | None = None
    reason: str | None = Field(default=None, description="why the site is refused or undecided, one sentence")


class Site(Message):
    """One tensor of the computation."""

    address: str
    point: str
    block: int | None = None
    axes: list[Axis]
    shape: list[int | None]
    provenance: Provenance
    scale: Literal["diverging", "probability"] = "diverging"
    equation: Equation | None = None
    check: Check


class Weight(Message):
    """One parameter, by its state-dict name."""

    name: str
    role: Role
    block: int | None = None
    axes: list[Axis]
    shape: list[int]
    dtype: str
    stored: str | None = Field(
        default=None, description="how the file keeps it in fewer bits: Q4_K, GPTQ 4 bit..."
    )
    tied_to: str | None = None


class Block(Message):
    """One transformer block in order of computation."""

    index: int
    kind: str = Field(description="attention kind: full, sliding, chunked, linear, none")
    parallel: bool = False
    heads: int | None = None
    kv_heads: int | None = None
    d_head: int | None = None
    d_mlp: int | None = None
    gated: bool = False
    window: int | None = None
    sites: list[Site]
    weights: list[Weight]


class Dimensions(Message):
    d_model: int
    vocab: int
    blocks: int
    heads: int
    kv_heads: int
    d_head: int
    d_mlp: int | None = None
    context: int


class Anatomy(Message):
    """The model as data: everything the page lays out, `explain` recomputes and the self-check runs."""

    model_id: str
    title: str
    family: str
    architecture: str
    dtype: str
    device: str
    parameters: int
    bytes: int
    dimensions: Dimensions
    before: list[Site] = Field(description="sites before the first block: embeddings")
    blocks: list[Block]
    after: list[Site] = Field(description="sites after the last block: final_norm, lm_head")
    weights: list[Weight] = Field(description="weights outside the blocks")
    refused: str | None = Field(
        default=None, description="why the model cannot be looked into at all; it still writes text"
    )
    parts: int = Field(
        default=0, description="what is checked one by one: the blocks, and what comes after them"
    )
    checked: int = Field(default=0, description="how many of the parts have been checked")


class CheckedParts(Message):
    """Parts of an anatomy that have been checked since it was asked for: they take the place of those in it."""

    before: list[Site] = Field(description="empty where these have not been checked")
    blocks: list[Block]
    after: list[Site] = Field(description="empty where these have not been checked")
    parts: int
    checked: int


EquationInput.model_rebuild()
Equation.model_rebuild()


def list_sites(anatomy: Anatomy) -> dict[str, Site]:
    """Every site of an anatomy by address, in order of computation."""
    inside = (site for block in anatomy.blocks for site in block.sites)
    return {site.address: site for site in (*anatomy.before, *inside, *anatomy.after)}
