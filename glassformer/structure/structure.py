"""Which module plays which role in a loaded model: a thin reading of interp-engine's structural facts.

Nothing here is written per architecture. A role the model does not have, or that cannot be told apart safely,
is a `Refusal` with the reason, never a guess.
"""

from __future__ import annotations

from typing import Any

import torch
from interp_engine.arch import ArchSpec
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.compute.generate import make_whole_arguments
from glassformer.compute.lock import ModelLock
from glassformer.compute.quantize import read_whole
from glassformer.errors import UnknownAddress
from glassformer.structure.declared import is_chunked, list_caps, list_choice_counts, list_scalars
from glassformer.structure.module import (
    count_experts,
    first_sentence,
    is_norm,
    measure_window,
    takes_choice,
)
from glassformer.structure.projections import lay_out_attention, lay_out_gate_up
from glassformer.structure.residual import ResidualTap
from glassformer.structure.role import Experts, Hook, Projection, Refusal, is_transposed
from glassformer.structure.shape_found import (
    Sublayers,
    find_holder,
    find_inner,
    find_out,
    find_sublayers,
    make_engine,
)

MIXER_NAMES = ("mixer", "mamba", "ssm", "conv", "short_conv", "temporal_block", "linear_attn", "mlstm_layer")


class Structure:
    """The roles of `model`'s modules, block by block.

    Costs nothing but attribute look-ups; holds no tensors of its own. What runs modules here does it inside
    `lock.running`, with the model's own lock (a thread may take it again).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any, lock: ModelLock | None = None) -> None:
        self.model = model
        self.lock = ModelLock() if lock is None else lock
        self._config: Any = model.config.get_text_config()
        self._engine, frame = make_engine(model, tokenizer)
        self.arch: ArchSpec = self._engine.arch
        # The norm before the head; None where the last block ends with its own.
        self.final_norm: nn.Module | None = self.arch.final_norm if frame is None else frame.norm
        if any(slot.of > 1 for slot in self.arch.layer_slots):
            raise ValueError("each of its blocks runs several attentions and MLPs")
        self.blocks: list[nn.Module] = list(self.arch.decoder_layers)
        # What each block does, where no names tell.
        self._sublayers = [] if frame is None else [find_sublayers(block) for block in self.blocks]
        self.residuals = ResidualTap(self.blocks)
        self._names = {id(module): name for name, module in model.named_modules()}
        self._modules = dict(model.named_modules())
        self._parameters = dict(model.named_buffers()) | dict(model.named_parameters(remove_duplicate=False))
        # Why the attention tap does not see this model's attention; None where it does.
        self.untapped: str | None = None
        # Where the tap does not see it: which layout of the weights gives what is mixed; None where none does.
        self.value_layout: int | None = None
        # Whether asking for attention probabilities leaves what the model computes as it is.
        self.hands_patterns = False
        # How many things a block hands on, the stream first; 0 where it hands on the bare stream.
        self.handed = 0
        self._places: dict[tuple[str, int | None], Hook | Refusal] = {}
        self._block_norms: dict[int, list[nn.Module]] = {}
        self._head_counts: dict[int, tuple[int, int]] = {}
        self._streams: dict[int, torch.dtype] = {}

    def run(self, token_ids: Tensor, **extra: Any) -> Any:
        """One whole forward of `token_ids` [pos] without a cache.

        Where the tap does not see attention, the model's own eager attention is asked to hand its probabilities on.
        """
        if self.untapped is not None and self.hands_patterns:
            extra.setdefault("output_attentions", True)
        with self.lock.running(len(token_ids)):
            return self.model(**{**make_whole_arguments(self.model, token_ids), **extra})

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        """What one of the model's own modules makes of tensors."""
        with self.lock.running(len(given[0]), "module", is_step=False):
            return self._modules[name](*given)  # type: ignore[no-any-return]

    def heads(self, block: int) -> tuple[int, int]:
        """Query heads and key/value heads of a block: as attention was seen to have, else as the config says."""
        return self._head_counts.get(block) or (self.arch.n_heads, self.arch.kv_heads_for_layer(block))

    def note_stream(self, block: int, dtype: torch.dtype) -> None:
        """Keep the format in which a block was seen to be handed the stream, where it is not the model's own.

        Some families keep the stream in float32 from their first block on. The model's end counts as one block more.
        """
        if dtype != self.model.dtype:
            self._streams[block] = dtype

    def stream_format(self, block: int) -> torch.dtype | None:
        """The format in which a block is handed the stream; None where it is the model's, as far as seen."""
        return self._streams.get(block)

    def note_heads(self, block: int, heads: int, kv_heads: int) -> None:
        """Keep the head counts that a block's attention was seen to have."""
        self._head_counts[block] = (heads, kv_heads)

    def locate(self, point: str, block: int | None = None) -> Hook | Refusal:
        """Where `point` can be read in this model, or why it cannot."""
        if (point, block) not in self._places:
            self._places[point, block] = self._find_place(point, block)
        return self._places[point, block]

    def _find_place(self, point: str, block: int | None) -> Hook | Refusal:
        if point == "final_norm" and self.final_norm is None:
            return Refusal("no norm follows the last block")
        found = self._found(block)
        place = None if found is None else found.locate(point)
        if place is not None:
            return place
        try:
            module, side = self._engine.resolve_point(point, block)
        except (ValueError, AttributeError, LookupError, NotImplementedError, RuntimeError) as exc:
            return Refusal(first_sentence(exc))
        side, _, item = side.partition(":")
        return Hook(module, side, int(item or 0))

    def _found(self, block: int | None) -> Sublayers | None:
        """The parts of a block by its shape, where no names tell."""
        return self._sublayers[block] if block is not None and self._sublayers else None

    def attention(self, block: int) -> nn.Module | Refusal:
        """The attention module of a block."""
        found = self._found(block)
        if found is not None:
            return found.attention
        try:
            attention: nn.Module = self.arch.attn_module(block)
        except (ValueError, AttributeError, LookupError) as exc:
            return Refusal(first_sentence(exc))
        return find_inner(attention)

    def mixer(self, block: int) -> nn.Module | Refusal:
        """What mixes positions in a block: its attention, or the state-space or convolution module instead."""
        attention = self.attention(block)
        if not isinstance(attention, Refusal):
            return attention
        try:
            feed_forward: nn.Module | None = self.arch.mlp_module(block)
        except (ValueError, AttributeError, LookupError):
            feed_forward = None
        for name in MIXER_NAMES:
            module = getattr(self.blocks[block], name, None)
            if isinstance(module, nn.Module) and module is not feed_forward:
                return module
        return attention

    def attention_out(self, block: int) -> Projection | Refusal:
        """The projection that attention's mixed values go through."""
        found = self._found(block)
        if found is not None and found.out is not None:
            return Projection(found.out, is_transposed(found.out))
        try:
            out = self.arch.attn_out_proj(block)
        except (ValueError, AttributeError, LookupError) as exc:
            attention = self.attention(block)
            inner = None if isinstance(attention, Refusal) else find_out(attention, attention)
            if inner is None or attention is self.arch.attn_module(block):
                return Refusal(first_sentence(exc))
            out = inner
        return Projection(out, is_transposed(out))

    def attention_projections(self, block: int) -> dict[str, Projection] | Refusal:
        """The projections of a block's attention by role, q, k, v and o, in the first layout that it might have."""
        out, layouts = self.attention_out(block), self.attention_layouts(block)
        if isinstance(out, Refusal):
            return out
        return {**layouts[0], "o": out} if layouts else Refusal("no projection gives its queries")

    def attention_layouts(self, block: int) -> list[dict[str, Projection]]:
        """Every way in which the weights of a block's attention might hold its roles: q, k, v and gate."""
        attention = self.attention(block)
        if isinstance(attention, Refusal):
            return []
        return lay_out_attention(attention, *self.heads(block), self.arch.head_dim_for_layer(block))

    def values(self, block: int) -> Projection | None:
        """What gives the values that a block's attention mixes, where the tap does not see them and that was found."""
        layouts = self.attention_layouts(block)
        if self.value_layout is None or self.value_layout >= len(layouts):
            return None
        return layouts[self.value_layout].get("v")

    def mlp_projections(self, block: int) -> dict[str, Projection] | Refusal:
        """The projections of a block's dense MLP by role: up and down, and gate where it is gated.

        The role `gate` is the branch that goes through the activation; an MLP without a gate has only `up`.
        """
        layouts = self.mlp_layouts(block)
        return layouts if isinstance(layouts, Refusal) else layouts[0]

    def mlp_layouts(self, block: int) -> list[dict[str, Projection]] | Refusal:
        """Every way in which the weights of a block's dense MLP might hold its roles."""
        parts = self._found(block)
        if parts is not None and parts.up is not None and parts.down is not None:
            pair = (("up", parts.up), ("down", parts.down))
            return [{role: Projection(module, is_transposed(module)) for role, module in pair}]
        holder = self.mlp_holder(block)
        fused = [] if holder is None else lay_out_gate_up(holder)
        if fused:
            return fused
        found: dict[str, Projection] = {}
        for role, which in (("gate", "pre_act"), ("up", "pre_linear"), ("down", "down")):
            try:
                module = self.arch.mlp_projection(block, which)
            except (ValueError, AttributeError, LookupError) as exc:
                if role == "up" and "gate" in found:
                    found["up"] = found.pop("gate")
                    continue
                return Refusal(first_sentence(exc))
            found[role] = Projection(module, is_transposed(module))
        return [found]

    def mlp_holder(self, block: int) -> nn.Module | None:
        """The module that holds a block's dense projections, which may be the block itself."""
        try:
            holder: nn.Module = self.arch.mlp_projection_holder(block)
        except (ValueError, AttributeError, LookupError):
            return None
        return holder

    def experts(self, block: int) -> Experts | None:
        """The sparse part of a block, if it has one: what is handed the chosen experts and their weights."""
        for holder in (self.feed_forward(block), self.blocks[block]):
            for module in holder.children() if holder is not None else ():
                if takes_choice(module):
                    return self._describe_experts(holder, module)
        return None

    def feed_forward(self, block: int) -> nn.Module | None:
        """The module that works on each position alone: an MLP, or a mixture of experts."""
        try:
            module: nn.Module = self.arch.mlp_module(block)
        except (ValueError, AttributeError, LookupError):
            return None
        return module

    def _describe_experts(self, holder: Any, experts: nn.Module) -> Experts:
        others = [(name, module) for name, module in holder.named_children() if module is not experts]
        router = next((m for n, m in others if n in ("gate", "router")), None)
        shared_gate = next((m for n, m in others if "shared" in n and "gate" in n), None)
        beside = [m for n, m in others if "shared" in n and m is not shared_gate]
        if not beside:
            block = next((b for b in self.blocks if holder in b.modules()), None)
            beside = [m for n, m in block.named_children() if "shared" in n] if block is not None else []
        corrections = tuple(
            name
            for name in self._parameters
            if name.startswith(f"{self.name_of(holder)}.")
            and "bias" in name
            and self._parameters[name].numel() == count_experts(experts)
        )
        return Experts(experts, router, beside[0] if beside else None, shared_gate, corrections)

    def activation(self, block: int) -> nn.Module | None:
        """The activation function of a block's MLP as the model holds it, if it is a module."""
        found = self._found(block)
        if found is not None:
            return found.activation
        holder = self.mlp_holder(block)
        for name in ("act_fn", "act", "activation_fn", "activation", "activation_func", "gelu_impl"):
            module = getattr(holder, name, None)
            if isinstance(module, nn.Module):
                return module
        return None

    def norms(self, block: int) -> dict[str, nn.Module]:
        """The norms on the way out of the residual stream by role: attn_norm, mlp_norm (where found)."""
        found: dict[str, nn.Module] = {}
        before_mlp = self.arch.pre_mlp_norm(block)
        if before_mlp is not None:
            found["mlp_norm"] = before_mlp
        # The first norm of the block that is not already spoken for reads the block's input.
        taken = {id(before_mlp), id(self.arch.post_attn_norm(block)), id(self.arch.post_mlp_norm(block))}
        for name in self.arch.block_norm_attrs(block) or [
            n for n, _ in self.blocks[block].named_children() if "ln" in n
        ]:
            module = getattr(self.blocks[block], name)
            if id(module) not in taken:
                found["attn_norm"] = module
                break
        return found

    def find_norms(self, module: nn.Module) -> list[nn.Module]:
        """Every norm that a module holds itself, or inside a container of no more than norms and projections."""
        return [child for child in module.modules() if is_norm(child) and child is not module]

    def block_norms(self, block: int) -> list[nn.Module]:
        """The norms of a block that do not belong to its attention, mixer or experts; those with a known role first."""
        if block in self._block_norms:
            return self._block_norms[block]
        inside = {
            id(norm)
            for part in (self.mixer(block), self.feed_forward(block))
            if isinstance(part, nn.Module) and part is not self.blocks[block]
            for norm in self.find_norms(part)
        }
        known = list(self.norms(block).values())
        others = [norm for norm in self.find_norms(self.blocks[block]) if norm not in known]
        self._block_norms[block] = [*known, *(norm for norm in others if id(norm) not in inside)]
        return self._block_norms[block]

    def window(self, block: int) -> int | None:
        """How many positions a query of a block sees at most, its own counted: as the config or its own mask says."""
        window: int | None = self.arch.sliding_window_for_layer(block)
        attention = self.attention(block)
        if window or isinstance(attention, Refusal):
            return window
        return next((width for mask in attention.buffers() if (width := measure_window(mask))), None)

    def is_chunked(self, block: int) -> bool:
        """Whether a block's queries see their own chunk of positions alone, as the config says."""
        return is_chunked(self._config, block)

    def qk_norms(self, block: int, which: str) -> list[nn.Module]:
        """Norms inside a block's attention that might be those of queries ("q"), keys ("k") or values ("v")."""
        attention = self.attention(block)
        if isinstance(attention, Refusal):
            return []
        norms = [(n, m) for n, m in attention.named_modules() if is_norm(m)]
        return [m for n, m in norms if n.rpartition(".")[2].startswith(which)] or [m for _, m in norms]

    def qk_norm(self, block: int, which: str) -> nn.Module | None:
        """The norm on queries (`which` "q") or keys ("k") before rotary embedding, if the block has one."""
        try:
            norm: nn.Module = self.arch.qk_norm_module(block, which)
        except (ValueError, AttributeError, LookupError):
            return None
        return norm

    def scalars(self, block: int | None) -> list[float]:
        """Numbers that the config or the modules of a block (None: those outside) declare and may multiply by."""
        holders: list[Any] = [self.model, self.arch.trunk, self.arch.embed]
        if block is not None:
            holders = [self.blocks[block], self.attention(block), self.feed_forward(block)]
        known = [*self.arch.quirks.residual_multipliers, float(self.arch.d_model)]
        return list_scalars(self._config, known, holders)

    def caps(self) -> list[float]:
        """Soft caps that the config declares."""
        return list_caps(self._config)

    def choice_counts(self, block: int) -> list[int]:
        """How many experts a position of a block may choose, as the config and the modules declare it."""
        holders: list[Any] = [self._config, self.feed_forward(block), self.blocks[block]]
        experts = self.experts(block)
        holders += [experts.router, experts.experts] if experts is not None else []
        return list_choice_counts(holders)

    def tables_beside(self) -> list[nn.Embedding]:
        """The tables that stand beside that of token vectors: positions, kinds of token."""
        return [
            child
            for holder in self._embedding_holders()
            for child in holder.children()
            if isinstance(child, nn.Embedding) and child is not self.arch.embed
        ]

    def norms_beside(self) -> list[nn.Module]:
        """The norms that stand beside the table of token vectors."""
        return [
            child
            for holder in self._embedding_holders()
            for child in holder.children()
            if "norm" in type(child).__name__.lower()
        ]

    def _embedding_holders(self) -> list[nn.Module]:
        holder = find_holder(self.arch.trunk, self.arch.embed)
        return [self.arch.trunk] if holder is self.arch.trunk else [self.arch.trunk, holder]

    def maps_before(self) -> list[nn.Module]:
        """The linear maps of the trunk outside of its blocks."""
        inside = {id(part) for block in self.blocks for part in block.modules()}
        return [p for p in self.arch.trunk.modules() if isinstance(p, nn.Linear) and id(p) not in inside]

    def head_parts(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The linear maps and the norms outside of the trunk that may stand before the head."""
        trunk = {id(part) for part in self.arch.trunk.modules()}
        parts = [p for p in self.model.modules() if id(p) not in trunk and p is not self.arch.lm_head]
        return [p for p in parts if isinstance(p, nn.Linear)], [p for p in parts if is_norm(p)]

    def activate(self, block: int, x: Tensor) -> Tensor:
        """Apply a block's own activation function. Raises ValueError where the block does not hold it as a module."""
        module = self.activation(block)
        if module is None:
            raise ValueError("the activation function is not a module of the block")
        with self.lock.running(len(x), "module", is_step=False):
            return module(x)  # type: ignore[no-any-return]

    def parameter(self, name: str) -> Tensor:
        """A parameter by its state-dict name, as the floating point numbers it stands for where it is quantised."""
        return read_whole(self.stored(name))

    def stored(self, name: str) -> Tensor:
        """A parameter by its state-dict name, as it is held. Raises UnknownAddress."""
        try:
            return self._parameters[name]
        except KeyError:
            raise UnknownAddress(name, f"This model has no weight {name!r}.") from None

    def name_of(self, module: nn.Module) -> str:
        """The dotted name of a module inside the model."""
        name: str | None = self._names.get(id(module))
        if name is None:
            raise UnknownAddress(type(module).__name__, "The module is not part of this model.")
        return name
