"""The parts of a model found by what they are and hold, for families whose names are not known here.

The tables at both ends are those that transformers itself gives; blocks are a list of modules of which each holds an
attention; what a block does besides is told by which linear maps fit together. Nothing is decided by that: a site is
shown only where its equation holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from interp_engine.arch import ArchSpec
from interp_engine.model import EagerModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.compute.quantize import find_whole_shape
from glassformer.structure.module import find_linear, is_norm
from glassformer.structure.projections import FUSED_NAMES, KEY_NAMES, QUERY_NAMES
from glassformer.structure.role import Hook, Refusal, is_transposed


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the blocks. `norm` is the one after them; None where the last block ends with its own."""

    trunk: nn.Module
    blocks: nn.ModuleList
    embed: nn.Module
    norm: nn.Module | None
    head: nn.Module


@dataclass(frozen=True, slots=True)
class Sublayers:
    """The parts of one block. `mixing` is the part of the block that holds the attention, and often adds to the stream.

    `up` and `down` are None where no two maps of the block fit together.
    """

    attention: nn.Module
    mixing: nn.Module
    out: nn.Module | None
    up: nn.Module | None
    down: nn.Module | None
    activation: nn.Module | None

    def locate(self, point: str) -> Hook | Refusal | None:
        """Where a point of the block is read, or why it is not; None for one that other parts tell."""
        if point == "resid_mid":
            # What a part of the block makes of the attention inside of it is what the next part reads.
            if self.mixing is not self.attention:
                return Hook(self.mixing, "output")
            return Refusal("no part of this block hands on the stream between its two halves")
        places: dict[str, tuple[nn.Module | None, str]] = {
            "attn_in": (self.attention, "input"),
            "attn_out": (self.out, "output"),
            "mlp_in": (self.up, "input"),
            "mlp_pre": (self.up, "output"),
            "mlp_pre_linear": (None, "output"),
            "mlp_act": (self.down, "input"),
            "mlp_out": (self.down, "output"),
        }
        if point not in places:
            return None
        module, side = places[point]
        return (
            Refusal("no map of this block was found to play that part")
            if module is None
            else Hook(module, side)
        )


def find_frame(model: PreTrainedModel) -> Frame | None:
    """The frame of a model whose blocks are one list; None where there is none, or more than one."""
    try:
        embed, head = model.get_input_embeddings(), model.get_output_embeddings()
    except NotImplementedError:
        return None
    trunk = model.base_model
    other = {id(module) for tower in _list_towers(model) for module in tower.modules()}
    lists = [
        module
        for module in trunk.modules()
        if isinstance(module, nn.ModuleList)
        and id(module) not in other
        and len(module)
        and all(find_attention(block) is not None for block in module)
    ]
    inner = {id(part) for found in lists for part in found.modules() if part is not found}
    lists = [found for found in lists if id(found) not in inner]
    if len(lists) != 1 or head is None:
        return None
    # It stands beside the list, or beside what the list stands in.
    chain = [part for part in trunk.modules() if any(inner is lists[0] for inner in part.modules())]
    norms = [child for part in chain for child in part.children() if is_norm(child)]
    return Frame(trunk, lists[0], embed, norms[-1] if norms else None, head)


def _list_towers(model: PreTrainedModel) -> Iterator[nn.Module]:
    """The models inside a model that read something else than tokens."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and "input_ids" not in str(module.main_input_name):
            yield module


def find_holder(root: nn.Module, module: nn.Module) -> nn.Module:
    """The module of which another is a child; `root` where there is none."""
    return next((part for part in root.modules() if any(c is module for c in part.children())), root)


def find_attention(block: nn.Module) -> nn.Module | None:
    """The first part of a block that itself holds the maps to queries and keys, or one map to both."""
    for module in block.modules():
        if module is not block and _list_first_maps(module):
            return module
    return None


def find_inner(attention: nn.Module) -> nn.Module:
    """The attention inside of a module that holds nothing else (GPT-Neo); else the module itself."""
    children = list(attention.children())
    if len(children) == 1 and not _list_first_maps(attention) and _list_first_maps(children[0]):
        return children[0]
    return attention


def _list_first_maps(attention: nn.Module) -> list[nn.Module]:
    fused = find_linear(attention, FUSED_NAMES)
    found = [fused] if fused is not None else [find_linear(attention, n) for n in (QUERY_NAMES, KEY_NAMES)]
    return [module for module in found if module is not None] if None not in found else []


def find_sublayers(block: nn.Module) -> Sublayers | None:
    """The parts of a block; None where it has no attention."""
    attention = find_attention(block)
    if attention is None:
        return None
    mixing = next(child for child in block.children() if any(part is attention for part in child.modules()))
    # Another attention (to an encoder's output) never runs on text alone.
    attending = [child for child in block.children() if find_attention(child) or _list_first_maps(child)]
    taken = {id(part) for child in attending for part in child.modules()}
    rest = [part for part in block.modules() if id(part) not in taken]
    up, down = _find_pair(rest)
    activation = next((part for part in rest if _is_activation(part)), None)
    return Sublayers(attention, mixing, find_out(attention, mixing), up, down, activation)


def find_out(attention: nn.Module, mixing: nn.Module) -> nn.Module | None:
    """The map that attention's mixed values go through: the last beside those it begins with, in it or around it."""
    inside = {id(part) for part in attention.modules()}
    around = [part for part in mixing.modules() if id(part) not in inside and _is_map(part)]
    if around:
        return around[0]
    first = {id(part) for part in _list_first_maps(attention)}
    within = [part for part in attention.children() if _is_map(part) and id(part) not in first]
    return within[-1] if within else None


def _find_pair(modules: list[nn.Module]) -> tuple[nn.Module | None, nn.Module | None]:
    """The first two maps of which the second takes what the first gives, and gives as much as that takes."""
    maps = [module for module in modules if _is_map(module)]
    for at, up in enumerate(maps):
        for down in maps[at + 1 :]:
            if _widths(down) == _widths(up)[::-1]:
                return up, down
    return None, None


def _is_map(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    is_table = isinstance(module, nn.Embedding)
    return isinstance(weight, Tensor) and not is_table and len(find_whole_shape(weight)) == 2


def _widths(module: nn.Module) -> tuple[int, ...]:
    """How many features a map takes and gives."""
    shape = tuple(find_whole_shape(cast(Tensor, module.weight)))
    return shape if is_transposed(module) else shape[::-1]


def _is_activation(module: nn.Module) -> bool:
    has_parts = [*module.children(), *module.parameters(), *module.buffers()]
    return not has_parts and not isinstance(module, (nn.Dropout, nn.Identity, nn.ModuleList, nn.ModuleDict))


class Renamed(nn.Module):
    """A model's frame under names that interp-engine looks for."""

    def __init__(self, model: PreTrainedModel, frame: Frame) -> None:
        super().__init__()
        self.config = model.config
        self.whole = model
        self.layers = frame.blocks
        self.embed_tokens = frame.embed
        self.norm = nn.Identity() if frame.norm is None else frame.norm
        self.lm_head = frame.head


def make_engine(model: PreTrainedModel, tokenizer: Any) -> tuple[EagerModel, Frame | None]:
    """interp-engine's view of a model, and the frame where it needed to be told that.

    Given a model and a tokenizer, EagerModel loads nothing; the id is only used in its messages.
    """
    given: dict[str, Any] = {"tokenizer": tokenizer, "dtype": None, "trust_remote_code": False}
    name = type(model).__name__
    try:
        return EagerModel(name, hf_model=model, **given), None
    except ValueError as exc:
        frame = find_frame(model) if "Could not locate" in str(exc) else None
        if frame is None:
            raise
    engine = EagerModel(name, hf_model=Renamed(model, frame), **given)
    arch: ArchSpec = replace(engine.arch, architecture=name, trunk=frame.trunk)
    engine.arch = arch
    return engine, frame
