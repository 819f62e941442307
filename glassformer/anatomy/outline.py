"""The model as data before anything of it was checked: its blocks, their sites and its weights.

Everything that the page places things by is settled here, from one forward, so that no check moves anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from glassformer.anatomy.selfcheck import Finding
from glassformer.compute.lora import Changed
from glassformer.compute.quantize import find_whole_shape, name_format
from glassformer.loading.dimension import BLOCKS, D_HEAD, HEADS, KV_HEADS, WIDTH
from glassformer.loading.field import first_number
from glassformer.operation.latex import write_latex
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import (
    Anatomy,
    Axis,
    Block,
    Check,
    Dimensions,
    Provenance,
    Role,
    Site,
    Weight,
)
from glassformer.structure.changed import CHANGE_POINTS, PREFIX, READ_BY
from glassformer.structure.role import Projection, Refusal
from glassformer.structure.structure import Structure

BLOCK_POINTS = (
    "resid_pre",
    "attn_in",
    *(point for point in CHANGE_POINTS if READ_BY[point.removeprefix(PREFIX)] == "attn_in"),
    "q",
    "k",
    "v",
    "attn_scores",
    "attn_probs",
    "z",
    "lora_o",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "router_logits",
    "expert_weights",
    "shared_out",
    *(point for point in CHANGE_POINTS if READ_BY[point.removeprefix(PREFIX)] == "mlp_in"),
    "mlp_pre",
    "mlp_pre_linear",
    "mlp_act",
    "lora_down",
    "mlp_out",
    "resid_post",
)
AXES: dict[str, list[Axis]] = {
    "q": ["head", "pos", "d_head"],
    "k": ["kv_head", "pos", "d_head"],
    "v": ["kv_head", "pos", "d_head"],
    "z": ["head", "pos", "d_head"],
    "attn_scores": ["head", "query", "key"],
    "attn_probs": ["head", "query", "key"],
    "router_logits": ["pos", "expert"],
    "expert_weights": ["pos", "expert"],
    "mlp_pre": ["pos", "d_mlp"],
    "mlp_pre_linear": ["pos", "d_mlp"],
    "mlp_act": ["pos", "d_mlp"],
    "lm_head": ["pos", "vocab"],
    **{point: ["pos", "rank"] for point in CHANGE_POINTS},
}
RECOMPUTED = ("attn_scores", "attn_probs")
# Axes of the weight of each role as [d_out, d_in]; biases and norms have the first alone.
WEIGHT_AXES: dict[str, tuple[Axis, Axis]] = {
    "token_embedding": ("vocab", "d_model"),
    "position_embedding": ("pos", "d_model"),
    "unembedding": ("vocab", "d_model"),
    "q": ("row", "d_model"),
    "k": ("row", "d_model"),
    "v": ("row", "d_model"),
    "qkv": ("row", "d_model"),
    "o": ("d_model", "row"),
    "gate": ("d_mlp", "d_model"),
    "gate_up": ("row", "d_model"),
    "up": ("d_mlp", "d_model"),
    "down": ("d_model", "d_mlp"),
}
CHANGE_ROLES: tuple[Role, Role] = ("lora_a", "lora_b")
# Axis of the vectors (gains, shifts) of norms; a bias has the output axis of its map.
VECTOR_AXES: dict[str, Axis] = {
    "attn_norm": "d_model",
    "mlp_norm": "d_model",
    "final_norm": "d_model",
    "q_norm": "d_head",
    "k_norm": "d_head",
}


class Described(Protocol):
    """The facts about a model that its outline states: of one in memory, or of one that is there in shape alone."""

    model_id: str
    title: str
    model: Any
    config: Any
    device: torch.device
    dtype: torch.dtype
    context: int
    vocab: int
    parameters: int
    bytes: int
    stored: Mapping[str, str]


class Measured(Protocol):
    """What one forward of a short prompt showed: a tensor for each site, and why there is none."""

    values: dict[str, Tensor]
    refusals: dict[str, str]


def list_addresses(blocks: int) -> list[str]:
    """Every address that a model of so many blocks might have, in order of computation."""
    inside = [f"{point}.{block}" for block in range(blocks) for point in BLOCK_POINTS]
    return ["embeddings", *inside, "final_norm", "lm_head"]


def describe_unread(loaded: Described, reason: str) -> Anatomy:
    """What can be said of a model that cannot be looked into."""
    config = loaded.config.get_text_config()
    heads = first_number(config, HEADS) or 1
    d_model = first_number(config, WIDTH) or 1
    return Anatomy(
        **_describe_facts(loaded),
        architecture=type(loaded.model).__name__,
        dimensions=Dimensions(
            d_model=d_model,
            vocab=loaded.vocab,
            blocks=first_number(config, BLOCKS) or 1,
            heads=heads,
            kv_heads=first_number(config, KV_HEADS) or heads,
            d_head=first_number(config, D_HEAD) or d_model // heads,
            context=loaded.context,
        ),
        before=[],
        blocks=[],
        after=[],
        weights=[],
        refused=reason,
    )


def _describe_facts(loaded: Described) -> dict[str, Any]:
    return {
        "model_id": loaded.model_id,
        "title": loaded.title,
        "family": str(loaded.config.model_type),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "parameters": loaded.parameters,
        "bytes": loaded.bytes,
    }


class Outline:
    """Describes what a measured model has. `measurement` has run and holds every site's values."""

    def __init__(self, loaded: Described, structure: Structure, measurement: Measured) -> None:
        self._loaded = loaded
        self._structure = structure
        self._measurement = measurement
        self._weights = _list_weights(structure, loaded.stored)
        self._roles: dict[str, str] = {weight.name: weight.role for weight in self._weights}
        for address, value in list(measurement.values.items()):
            axes = AXES.get(split_address(address)[0], ["pos", "d_model"])
            if value.dim() != len(axes):
                del measurement.values[address]
                measurement.refusals[address] = "what the model computes there has other axes"

    def describe(self) -> Anatomy:
        """The whole model, nothing of it checked."""
        return self.describe_with(
            [self.describe_block(block) for block in range(len(self._structure.blocks))]
        )

    def describe_with(self, blocks: list[Block]) -> Anatomy:
        """The whole model with these descriptions of its blocks, or of some of them."""
        loaded, arch, count = self._loaded, self._structure.arch, len(self._structure.blocks)
        return Anatomy(
            **_describe_facts(loaded),
            architecture=arch.architecture,
            dimensions=Dimensions(
                d_model=arch.d_model,
                vocab=loaded.vocab,
                blocks=count,
                heads=arch.n_heads,
                kv_heads=arch.n_kv_heads,
                d_head=arch.head_dim,
                d_mlp=next((block.d_mlp for block in blocks if block.d_mlp), None),
                context=loaded.context,
            ),
            before=[self.describe_site("embeddings")],
            blocks=blocks,
            after=[self.describe_site("final_norm"), self.describe_site("lm_head")],
            weights=[weight for weight in self._weights if weight.block is None],
            parts=count + 1,
        )

    def describe_block(self, block: int) -> Block:
        """A block, none of its sites checked."""
        arch = self._structure.arch
        sites = [self.describe_site(f"{point}.{block}") for point in BLOCK_POINTS]
        # What an architecture simply does not have (a gate, a stream between parallel sublayers) is not drawn at all.
        sites = [
            site for site in sites if site.address in self._measurement.values or self._is_expected(site)
        ]
        attends = not isinstance(self._structure.attention(block), Refusal)
        probabilities = self._measurement.values.get(f"attn_probs.{block}")
        # The config's word on windows is for all blocks of a kind; the scores' own equation knows better.
        window = self._structure.window(block) if attends else None
        width = self._measurement.values.get(f"mlp_act.{block}")
        heads = self._structure.heads(block)
        query = self._measurement.values.get(f"q.{block}")
        mixes = f"attn_out.{block}" in self._measurement.values
        return Block(
            index=block,
            kind=("none" if not mixes else "linear")
            if not attends or (probabilities is None and arch.is_linear_attention_layer(block))
            else "sliding"
            if window
            else "chunked"
            if self._structure.is_chunked(block)
            else "full",
            parallel=arch.quirks.parallel_attn_mlp,
            heads=heads[0] if attends else None,
            kv_heads=heads[1] if attends else None,
            d_head=(arch.head_dim_for_layer(block) if query is None else query.shape[-1])
            if attends
            else None,
            d_mlp=None if width is None else width.shape[-1],
            gated=f"mlp_pre_linear.{block}" in self._measurement.values,
            window=window,
            sites=sites,
            weights=[weight for weight in self._weights if weight.block == block],
        )

    def _is_expected(self, site: Site) -> bool:
        """Whether a site that was not seen is missed: what a block has no part for is not."""
        assert site.block is not None
        structure, point = self._structure, site.point
        if point in ("mlp_pre_linear", "resid_mid", "router_logits", "expert_weights", "shared_out"):
            return False
        if point in CHANGE_POINTS:
            return False
        if point in ("q", "k", "v", "z", "attn_scores", "attn_probs"):
            attends = not isinstance(structure.attention(site.block), Refusal)
            return attends and not structure.arch.is_linear_attention_layer(site.block)
        if point in ("mlp_pre", "mlp_act"):
            return (
                structure.experts(site.block) is None and f"mlp_out.{site.block}" in self._measurement.values
            )
        return point not in ("attn_in", "attn_out", "mlp_in", "mlp_out")

    def describe_site(self, address: str) -> Site:
        """A site that has not been checked."""
        point, block = split_address(address)
        axes = AXES.get(point, ["pos", "d_model"])
        return Site(
            address=address,
            point=point,
            block=block,
            axes=axes,
            shape=self._shape(address, axes),
            provenance=self._provenance(point, block),
            scale="probability" if point == "attn_probs" else "diverging",
            check=Check(status="unchecked"),
        )

    def fill(self, site: Site, finding: Finding) -> Site:
        """The site with what its check found."""
        equation = finding.equation
        if equation is not None:
            latex = write_latex(site.address, equation, self._roles)
            equation = equation.model_copy(update={"latex": latex})
        return site.model_copy(update={"equation": equation, "check": finding.check})

    def _shape(self, address: str, axes: list[Axis]) -> list[int | None]:
        value = self._measurement.values.get(address)
        grows = ("pos", "query", "key")
        if value is None:
            return [None] * len(axes)
        return [None if axis in grows else int(size) for axis, size in zip(axes, value.shape, strict=True)]

    def _provenance(self, point: str, block: int | None) -> Provenance:
        if point == "attn_probs" and self._structure.untapped is not None:
            return "captured"
        if point == "resid_pre" or (point == "resid_post" and block == len(self._structure.blocks) - 1):
            return "recorded"
        return "recomputed" if point in RECOMPUTED else "captured"


def _list_weights(structure: Structure, stored: Mapping[str, str]) -> list[Weight]:
    roles = _assign_roles(structure)
    mapped = {}
    for module in structure.model.modules():
        if isinstance(module, Changed):
            role, _ = roles.get(id(module), ("other", False))
            for kind, part in zip(CHANGE_ROLES, (module.lora_A, module.lora_B), strict=True):
                roles[id(part)], mapped[id(part)] = (kind, False), role
    places = {id(block): index for index, block in enumerate(structure.blocks)}
    owners = {id(module): places[id(block)] for block in structure.blocks for module in block.modules()}
    first_names: dict[int, str] = {}
    weights = []
    for name, parameter in structure.model.named_parameters(remove_duplicate=False):
        owner = structure.model.get_submodule(name.rpartition(".")[0])
        role, transposed = roles.get(id(owner), ("other", False))
        tied_to = first_names.get(id(parameter))
        first_names.setdefault(id(parameter), name)
        weights.append(
            Weight(
                name=name,
                role=role,
                block=owners.get(id(owner)),
                axes=_change_axes(role, mapped.get(id(owner), role), parameter)
                if role in CHANGE_ROLES
                else _weight_axes(role, owner, parameter, transposed=transposed),
                shape=list(find_whole_shape(parameter)),
                dtype=name_format(parameter),
                stored=stored.get(tied_to or name),
                tied_to=tied_to,
            )
        )
    return weights


def _assign_roles(structure: Structure) -> dict[int, tuple[Role, bool]]:
    """Role of each module that holds weights, and whether its weight is stored [d_in, d_out]."""
    arch = structure.arch
    roles: dict[int, tuple[Role, bool]] = {id(structure.final_norm): ("final_norm", False)}
    for module in arch.trunk.children():
        if isinstance(module, nn.Embedding):
            roles[id(module)] = ("position_embedding", False)
    roles[id(arch.lm_head)] = ("unembedding", False)
    roles[id(arch.embed)] = ("token_embedding", False)
    for block in range(len(structure.blocks)):
        for role, projection in _projections(structure, block):
            named: Any = role
            if projection.is_shared:
                named = "qkv" if role in ("q", "k", "v") else "gate_up"
            roles[id(projection.module)] = (named, projection.transposed)
        for role, norm in structure.norms(block).items():
            roles[id(norm)] = ("attn_norm" if role == "attn_norm" else "mlp_norm", False)
        for which in ("q", "k"):
            module = structure.qk_norm(block, which)
            if module is not None:
                roles[id(module)] = ("q_norm" if which == "q" else "k_norm", False)
    return roles


def _projections(structure: Structure, block: int) -> Iterator[tuple[str, Projection]]:
    for found in (structure.attention_projections(block), structure.mlp_projections(block)):
        if not isinstance(found, Refusal):
            yield from found.items()


def _change_axes(kind: Role, role: str, parameter: Tensor) -> list[Axis]:
    """Axes of A [rank, d_in] or B [d_out, rank] of an adapter that changes a matrix of `role`."""
    d_out, d_in = WEIGHT_AXES.get(role, ("row", "column"))
    axes: list[Axis] = ["rank", d_in] if kind == "lora_a" else [d_out, "rank"]
    return axes if parameter.dim() == 2 else axes[:1]


def _weight_axes(role: str, owner: nn.Module, parameter: Tensor, *, transposed: bool) -> list[Axis]:
    pair = WEIGHT_AXES.get(role, ("row", "column"))
    if parameter.dim() == 1:
        return [VECTOR_AXES.get(role, pair[0])]
    if parameter.dim() == 2:
        return [pair[1], pair[0]] if transposed else [pair[0], pair[1]]
    # One matrix for each channel of a convolution, for each expert of a mixture.
    stacked: Axis = "channel" if isinstance(owner, nn.Conv1d) else "expert"
    return [*[stacked] * (parameter.dim() - 2), "row", "column"]
