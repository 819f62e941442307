"""For every site, the equations it might obey, most common first.

Written from roles, never from names of architectures: the self-check runs the candidates against what the model
computed and keeps the first that holds. Knows no values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from glassformer.model.structure import Projection, Refusal, Structure
from glassformer.protocol.messages import Equation, EquationInput, Input, Operation, SiteInput, WeightInput

# (pairing of features, how the model keeps its table): see `equation.spread_table`.
ROTARY_STYLES = (
    ("halves", "halves"),
    ("neighbours", "neighbours"),
    ("neighbours", "halves"),
    ("halves", "angles"),
    ("neighbours", "angles"),
)
# Rows of a position table left free before position 0: fairseq's descendants keep two for padding.
POSITION_STARTS = (0, 2)
# For norms that keep their constant in code instead of on the module.
USUAL_EPS = (1e-5, 1e-6)


def equation(operation: Operation, *inputs: Input | Equation | str, **attributes: Any) -> Equation:
    """An equation from inputs, bare equations, or addresses."""
    return Equation(operation=operation, inputs=[_as_input(given) for given in inputs], attributes=attributes)


def _as_input(given: Input | Equation | str) -> Input:
    if isinstance(given, str):
        return SiteInput(address=given)
    return EquationInput(equation=given) if isinstance(given, Equation) else given


class Candidates:
    """The candidate equations of a model's sites."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._arch = structure.arch

    def propose(self, point: str, block: int | None) -> Iterator[Equation]:
        """Equations for a site, most likely first; none where nothing is known."""
        if block is None:
            yield from getattr(self, f"_{point}")()
        else:
            yield from getattr(self, f"_{point}")(block)

    # --- around the blocks -------------------------------------------------------------------------

    def _embeddings(self) -> Iterator[Equation]:
        table = equation("lookup", self._weight(self._arch.embed), by="token_ids")
        yield table
        yield equation("scale", table, factor=self._arch.d_model**0.5)

    def _final_norm(self) -> Iterator[Equation]:
        last = f"resid_post.{len(self._structure.blocks) - 1}"
        yield from self._normed(self._arch.final_norm, last)

    def _lm_head(self) -> Iterator[Equation]:
        head = Projection(self._arch.lm_head, transposed=False)
        plain = self._mapped("final_norm", head)
        yield plain
        quirks = self._arch.quirks
        scaled = (
            equation("scale", plain, factor=quirks.logit_multiplier) if quirks.logit_multiplier else plain
        )
        if quirks.logit_multiplier:
            yield scaled
        if quirks.final_logit_softcapping:
            yield equation("softcap", scaled, cap=quirks.final_logit_softcapping)

    # --- the residual stream -----------------------------------------------------------------------

    def _resid_pre(self, block: int) -> Iterator[Equation]:
        if block > 0:
            yield equation("add", f"resid_post.{block - 1}")
            return
        yield equation("add", "embeddings")
        for module in self._arch.trunk.children():
            if isinstance(module, nn.Embedding) and module is not self._arch.embed:
                for first in POSITION_STARTS:
                    rows = equation("lookup", self._weight(module), by="positions", first=first)
                    yield equation("add", "embeddings", rows)
        yield equation("scale", "embeddings", factor=self._arch.d_model**0.5)

    def _resid_mid(self, block: int) -> Iterator[Equation]:
        for added in self._contributions("attn_out", block, self._arch.post_attn_norm(block), 0):
            yield equation("add", f"resid_pre.{block}", added)

    def _resid_post(self, block: int) -> Iterator[Equation]:
        mlp = list(self._contributions("mlp_out", block, self._arch.post_mlp_norm(block), 1))
        for added in mlp:
            yield equation("add", f"resid_mid.{block}", added)
        for added in mlp:
            for attention in self._contributions("attn_out", block, self._arch.post_attn_norm(block), 0):
                yield equation("add", f"resid_pre.{block}", attention, added)

    def _contributions(
        self, point: str, block: int, norm: nn.Module | None, side: int
    ) -> Iterator[Equation | str]:
        """What a sublayer adds to the stream: its output as it is, scaled, or normed."""
        address = f"{point}.{block}"
        if norm is not None:
            yield from self._normed(norm, address)
        factor = self._arch.quirks.residual_multipliers[side]
        if factor != 1.0:
            yield equation("scale", address, factor=factor)
        yield address

    # --- attention ---------------------------------------------------------------------------------

    def _attn_in(self, block: int) -> Iterator[Equation]:
        norm = self._structure.norms(block).get("attn_norm")
        if norm is not None:
            yield from self._normed(norm, f"resid_pre.{block}")
        yield equation("add", f"resid_pre.{block}")

    def _q(self, block: int) -> Iterator[Equation]:
        yield from self._headed("q", block, self._arch.n_heads)

    def _k(self, block: int) -> Iterator[Equation]:
        yield from self._headed("k", block, self._arch.kv_heads_for_layer(block))

    def _v(self, block: int) -> Iterator[Equation]:
        yield from self._headed("v", block, self._arch.kv_heads_for_layer(block))

    def _headed(self, role: str, block: int, heads: int) -> Iterator[Equation]:
        projections = self._structure.attention_projections(block)
        if isinstance(projections, Refusal):
            return
        plain = self._mapped(f"attn_in.{block}", projections[role], heads=heads)
        norm = None if role == "v" else self._structure.qk_norm(block, role)
        before = [plain] if norm is None else [*self._normed(norm, plain)]
        if role != "v":
            for pairing, table in ROTARY_STYLES:
                for inner in before:
                    yield equation("rotary", inner, block=block, pairing=pairing, table=table)
                if norm is not None:
                    turned = equation("rotary", plain, block=block, pairing=pairing, table=table)
                    yield from self._normed(norm, turned)
        yield from before

    def _attn_scores(self, block: int) -> Iterator[Equation]:
        attention = self._structure.attention(block)
        d_head = self._arch.head_dim_for_layer(block)
        factors = [getattr(attention, "scaling", None), getattr(attention, "scale", None), d_head**-0.5]
        window = self._arch.sliding_window_for_layer(block)
        cap = self._arch.quirks.attn_logit_softcapping
        for factor in dict.fromkeys(float(f) for f in factors if isinstance(f, (int, float))):
            scaled = equation("scale", equation("dot", f"q.{block}", f"k.{block}"), factor=factor)
            capped = equation("softcap", scaled, cap=cap) if cap else scaled
            yield equation("mask", capped, window=window) if window else equation("mask", capped)

    def _attn_probs(self, block: int) -> Iterator[Equation]:
        yield equation("softmax", f"attn_scores.{block}")
        attention = self._structure.attention(block)
        if isinstance(attention, Refusal):
            return
        # A learned logit a head that takes part in the softmax and in nothing else (attention sinks).
        for name, parameter in attention.named_parameters(recurse=False):
            if parameter.shape == (self._arch.n_heads,):
                sinks = WeightInput(name=f"{self._structure.name_of(attention)}.{name}")
                yield equation("softmax", f"attn_scores.{block}", sinks)

    def _z(self, block: int) -> Iterator[Equation]:
        yield equation("weighted_sum", f"attn_probs.{block}", f"v.{block}")

    def _attn_out(self, block: int) -> Iterator[Equation]:
        projections = self._structure.attention_projections(block)
        if not isinstance(projections, Refusal):
            yield self._mapped(f"z.{block}", projections["o"], merge_heads=True)

    # --- the MLP -----------------------------------------------------------------------------------

    def _mlp_in(self, block: int) -> Iterator[Equation]:
        norms = self._structure.norms(block)
        for source in (f"resid_mid.{block}", f"resid_pre.{block}"):
            for role in ("mlp_norm", "attn_norm"):
                if role in norms:
                    yield from self._normed(norms[role], source)
            yield equation("add", source)

    def _mlp_pre(self, block: int) -> Iterator[Equation]:
        projections = self._structure.mlp_projections(block)
        if not isinstance(projections, Refusal):
            yield self._mapped(f"mlp_in.{block}", projections.get("gate", projections["up"]))

    def _mlp_pre_linear(self, block: int) -> Iterator[Equation]:
        projections = self._structure.mlp_projections(block)
        if not isinstance(projections, Refusal) and "gate" in projections:
            yield self._mapped(f"mlp_in.{block}", projections["up"])

    def _mlp_act(self, block: int) -> Iterator[Equation]:
        projections = self._structure.mlp_projections(block)
        module = self._structure.activation(block)
        if isinstance(projections, Refusal) or module is None:
            return
        name = type(module).__name__.removesuffix("Activation") or "act"
        active = equation("activation", f"mlp_pre.{block}", block=block, function=name)
        yield equation("multiply", active, f"mlp_pre_linear.{block}") if "gate" in projections else active

    def _mlp_out(self, block: int) -> Iterator[Equation]:
        projections = self._structure.mlp_projections(block)
        if not isinstance(projections, Refusal):
            yield self._mapped(f"mlp_act.{block}", projections["down"])

    # --- parts -------------------------------------------------------------------------------------

    def _weight(self, module: nn.Module, start: int | None = None, stop: int | None = None) -> WeightInput:
        return WeightInput(name=f"{self._structure.name_of(module)}.weight", start=start, stop=stop)

    def _mapped(self, source: str, projection: Projection, **attributes: Any) -> Equation:
        module, start, stop = projection.module, projection.start, projection.stop
        inputs: list[Input | Equation | str] = [source, self._weight(module, start, stop)]
        if getattr(module, "bias", None) is not None:
            inputs.append(WeightInput(name=f"{self._structure.name_of(module)}.bias", start=start, stop=stop))
        if projection.transposed:
            attributes["transposed"] = True
        return equation("matmul", *inputs, **attributes)

    def _normed(self, module: nn.Module, source: str | Equation) -> Iterator[Equation]:
        name = self._structure.name_of(module)
        inputs: list[Input | Equation | str] = [source]
        inputs += [WeightInput(name=f"{name}.{part}") for part, _ in module.named_parameters(recurse=False)]
        eps = next(
            (float(v) for k in ("variance_epsilon", "eps") if (v := getattr(module, k, None)) is not None),
            0.0,
        )
        kinds = ("layer",) if isinstance(module, nn.LayerNorm) else ("rms", "layer")
        for kind in kinds:
            for constant in (eps,) if eps else USUAL_EPS:
                yield equation("norm", *inputs, norm=kind, eps=constant)
                if len(inputs) > 1:
                    yield equation("norm", *inputs, norm=kind, eps=constant, offset=1.0)
