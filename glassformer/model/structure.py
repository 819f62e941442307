"""Which module plays which role in a loaded model: a thin reading of interp-engine's structural facts.

Nothing here is written per architecture. A role the model does not have, or that cannot be told apart safely,
is a `Refusal` with the reason, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp_engine.arch import ArchSpec
from interp_engine.facts import GateUpLayout, QKVLayout
from interp_engine.model import EagerModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.errors import UnknownAddress
from glassformer.model.quantize import find_whole_shape, read_whole
from glassformer.model.residual import ResidualTap


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a tensor can be read: a module and its input or (item of its) output."""

    module: nn.Module
    side: str
    item: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a role or tensor does not exist or cannot be read, in one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map and the run of its output features that plays the role.

    `transposed` says that the weight is stored [d_in, d_out] (GPT-2's Conv1D) instead of [d_out, d_in].
    """

    module: nn.Module
    transposed: bool
    start: int | None = None
    stop: int | None = None


class Structure:
    """The roles of `model`'s modules, block by block.

    Costs nothing but attribute look-ups; holds no tensors of its own.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any) -> None:
        self.model = model
        # Given a model and a tokenizer, EagerModel loads nothing; the id is only used in its messages.
        self._engine = EagerModel(
            type(model).__name__, hf_model=model, tokenizer=tokenizer, dtype=None, trust_remote_code=False
        )
        self.arch: ArchSpec = self._engine.arch
        self.blocks: list[nn.Module] = list(self.arch.decoder_layers)
        self.residuals = ResidualTap(self.blocks)
        self._names = {id(module): name for name, module in model.named_modules()}
        self._parameters = dict(model.named_parameters(remove_duplicate=False))

    def locate(self, point: str, block: int | None = None) -> Hook | Refusal:
        """Where `point` can be read in this model, or why it cannot."""
        try:
            module, side = self._engine.resolve_point(point, block)
        except (ValueError, AttributeError, LookupError, NotImplementedError, RuntimeError) as exc:
            return Refusal(_first_sentence(exc))
        side, _, item = side.partition(":")
        return Hook(module, side, int(item or 0))

    def attention(self, block: int) -> nn.Module | Refusal:
        """The attention module of a block."""
        try:
            attention: nn.Module = self.arch.attn_module(block)
        except (ValueError, AttributeError, LookupError) as exc:
            return Refusal(_first_sentence(exc))
        return attention

    def attention_projections(self, block: int) -> dict[str, Projection] | Refusal:
        """The projections of a block's attention, by role: q, k, v (slices of one map where fused) and o."""
        attention = self.attention(block)
        if isinstance(attention, Refusal):
            return attention
        heads, kv_heads = self.arch.n_heads, self.arch.kv_heads_for_layer(block)
        d_head = self.arch.head_dim_for_layer(block)
        found: dict[str, Projection] = {}
        fused = self.arch.fused_qkv_module(block)
        if fused is not None:
            if self.arch.quirks.qkv_layout is not QKVLayout.CONTIGUOUS_THIRDS:
                return Refusal("queries, keys and values are interleaved in one projection")
            edges = [0, heads * d_head, (heads + kv_heads) * d_head, (heads + 2 * kv_heads) * d_head]
            for role, start, stop in zip("qkv", edges[:-1], edges[1:], strict=True):
                found[role] = Projection(fused, is_transposed(fused), start, stop)
        else:
            try:
                modules = {"q": self.arch.q_proj(block), "v": self.arch.v_proj(block)}
            except (ValueError, AttributeError) as exc:
                return Refusal(_first_sentence(exc))
            modules["k"] = getattr(attention, "k_proj", None)
            for role, module in modules.items():
                if module is None or not isinstance(getattr(module, "weight", None), Tensor):
                    return Refusal(f"no single projection gives {role}")
                found[role] = Projection(module, is_transposed(module))
        try:
            out = self.arch.attn_out_proj(block)
        except (ValueError, AttributeError) as exc:
            return Refusal(_first_sentence(exc))
        found["o"] = Projection(out, is_transposed(out))
        return found

    def mlp_projections(self, block: int) -> dict[str, Projection] | Refusal:
        """The projections of a block's dense MLP by role: up and down, and gate where it is gated.

        The role `gate` is the branch that goes through the activation; an MLP without a gate has only `up`.
        """
        fused = self._fused_gate_up(block)
        if fused is not None:
            return fused
        found: dict[str, Projection] = {}
        for role, which in (("gate", "pre_act"), ("up", "pre_linear"), ("down", "down")):
            try:
                module = self.arch.mlp_projection(block, which)
            except (ValueError, AttributeError, LookupError) as exc:
                if role == "up":
                    found["up"] = found.pop("gate")
                    continue
                return Refusal(_first_sentence(exc))
            found[role] = Projection(module, is_transposed(module))
        return found

    def _fused_gate_up(self, block: int) -> dict[str, Projection] | None:
        """Gate and up as the two halves of one projection, where interp-engine knows the packing."""
        try:
            fused = self.arch.fused_gate_up(block)
            down = self.arch.mlp_projection(block, "down") if fused else None
        except (ValueError, AttributeError, LookupError):
            return None
        if fused is None or down is None or fused[1] is not GateUpLayout.GATE_FIRST:
            return None
        module, width = fused[0], find_whole_shape(fused[0].weight)[0] // 2
        return {
            "gate": Projection(module, is_transposed(module), 0, width),
            "up": Projection(module, is_transposed(module), width, 2 * width),
            "down": Projection(down, is_transposed(down)),
        }

    def activation(self, block: int) -> nn.Module | None:
        """The activation function of a block's MLP as the model holds it, if it is a module."""
        try:
            holder = self.arch.mlp_projection_holder(block)
        except (ValueError, AttributeError):
            return None
        for name in ("act_fn", "act", "activation_fn", "activation", "activation_func"):
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

    def qk_norm(self, block: int, which: str) -> nn.Module | None:
        """The norm on queries (`which` "q") or keys ("k") before rotary embedding, if the block has one."""
        try:
            norm: nn.Module = self.arch.qk_norm_module(block, which)
        except (ValueError, AttributeError):
            return None
        return norm

    def activate(self, block: int, x: Tensor) -> Tensor:
        """Apply a block's own activation function. Raises ValueError where the block does not hold it as a module."""
        module = self.activation(block)
        if module is None:
            raise ValueError("the activation function is not a module of the block")
        return module(x)  # type: ignore[no-any-return]

    def parameter(self, name: str) -> Tensor:
        """A parameter by its state-dict name, as the floating point numbers it stands for where it is quantised."""
        try:
            stored = self._parameters[name]
        except KeyError:
            raise UnknownAddress(name, f"This model has no weight {name!r}.") from None
        return read_whole(stored)

    def name_of(self, module: nn.Module) -> str:
        """The dotted name of a module inside the model."""
        name: str | None = self._names.get(id(module))
        if name is None:
            raise UnknownAddress(type(module).__name__, "The module is not part of this model.")
        return name


def is_transposed(module: nn.Module) -> bool:
    """Whether a linear map stores its weight [d_in, d_out]: transformers' Conv1D does."""
    return type(module).__name__ == "Conv1D"


def _first_sentence(exc: Exception) -> str:
    text = str(exc).split("\n")[0]
    return text.split(". ")[0].rstrip(".")
