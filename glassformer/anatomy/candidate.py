"""For every site, the equations it might obey, most common first.

Written from roles, never from names of architectures: the self-check runs the candidates against what the model
computed and keeps the first that holds. Knows no values.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, islice, product
from typing import Any

from torch import Tensor, nn

from glassformer.anatomy.modules import find_eps, name_function, unlike
from glassformer.compute.lora import Changed
from glassformer.compute.quantize import find_whole_shape
from glassformer.operation.activation import FUNCTIONS
from glassformer.protocol.anatomy import Equation, EquationInput, Input, Operation, SiteInput, WeightInput
from glassformer.structure.changed import CHANGE_POINTS, PREFIX, READ_BY, find_change, find_change_point
from glassformer.structure.role import Projection, Refusal
from glassformer.structure.structure import Structure

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
# Tables beside that of token vectors whose rows are added to them, at most.
MOST_TABLES = 3
# How a gate on attention's output opens.
GATE_FUNCTIONS = ("Sigmoid", "SiLU", "Softplus")
# Kinds of blocks that take turns in a model (full and sliding, dense and routed), remembered for each point.
MOST_HELD = 4
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
    """The candidate equations of a model's sites.

    What held at one block is proposed first at the next, so that a model of many blocks costs little more than one.
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._arch = structure.arch
        self._proposed: list[Equation] = []
        # For each point the places, among those proposed, of what held; the latest first.
        self._held: dict[str, list[int]] = {}

    def propose(self, point: str, block: int | None) -> Iterator[Equation]:
        """Equations for a site, most likely first; none where nothing is known."""
        written: Iterator[Equation]
        if point in CHANGE_POINTS and block is not None:
            written = self._changed(point, block)
        else:
            write = getattr(self, f"_{point}")
            written = write() if block is None else write(block)
        # Written no further than they are asked for: most blocks are like one before.
        self._proposed = []
        held = list(self._held.get(point, ()))
        for place in held:
            self._proposed += islice(written, max(0, place + 1 - len(self._proposed)))
            yield from self._proposed[place : place + 1]
        for place, one in enumerate(chain(list(self._proposed), written)):
            if place == len(self._proposed):
                self._proposed.append(one)
            if place not in held:
                yield one

    def count_held(self, point: str) -> int:
        """How many of those that are proposed first held at another block."""
        return len(self._held.get(point, ()))

    def confirm(self, address: str, chosen: Equation | None) -> None:
        """Remember which of those proposed last was found to hold."""
        if chosen is not None:
            place = self._proposed.index(chosen)
            held = self._held.setdefault(address.partition(".")[0], [])
            held[:] = [place, *(other for other in held if other != place)][:MOST_HELD]

    # --- around the blocks -------------------------------------------------------------------------

    def _embeddings(self) -> Iterator[Equation]:
        table = equation("lookup", self._weight(self._arch.embed), by="token_ids")
        yield table
        yield from self._scaled(table, None)

    def _final_norm(self) -> Iterator[Equation]:
        last = f"resid_post.{len(self._structure.blocks) - 1}"
        norm = self._structure.final_norm
        if norm is not None:
            yield from self._normed(norm, last)
        yield equation("add", last)

    def _lm_head(self) -> Iterator[Equation]:
        quirks = self._arch.quirks
        last = f"resid_post.{len(self._structure.blocks) - 1}"
        for source in ("final_norm", last):
            plain = self._mapped(source, Projection(self._arch.lm_head, transposed=False))
            yield plain
            factors = [quirks.logit_multiplier] if quirks.logit_multiplier else []
            scaled = [equation("scale", plain, factor=factor) for factor in factors]
            for cap in self._structure.caps():
                yield from (equation("softcap", one, cap=cap) for one in [plain, *scaled])
            yield from [*scaled, *self._scaled(plain, None)]
        for source in ("final_norm", last):
            for one in self._transformed(source):
                yield self._mapped(one, Projection(self._arch.lm_head, transposed=False))

    def _transformed(self, source: str) -> Iterator[Equation]:
        """A site through a map of its own, an activation and a norm before the head, as in models made to fill gaps."""
        maps, norms = self._structure.head_parts()
        for module in maps:
            mapped = self._mapped(source, Projection(module, transposed=False))
            for active in self._activated(mapped, len(self._structure.blocks) - 1):
                for norm in norms:
                    yield from self._normed(norm, active)
                yield active

    # --- the residual stream -----------------------------------------------------------------------

    def _resid_pre(self, block: int) -> Iterator[Equation]:
        if block > 0:
            yield equation("add", f"resid_post.{block - 1}")
            return
        sums = list(self._beside_embeddings())
        yield from sums
        before = self._structure.maps_before()
        for norm in self._structure.norms_beside():
            whole: list[str | Equation] = ["embeddings", *sums[1:]]
            normed = [one for summed in whole for one in self._normed(norm, summed)]
            yield from normed
            for module in before:
                yield from (self._mapped(one, Projection(module, transposed=False)) for one in normed)
        for module in before:
            yield from (self._mapped(one, Projection(module, transposed=False)) for one in sums)
        yield from self._scaled("embeddings", None)

    def _beside_embeddings(self) -> Iterator[Equation]:
        """The embeddings with nothing, and with rows of the tables beside theirs, added to them."""
        tables = [self._weight(module) for module in self._structure.tables_beside()]
        yield equation("add", "embeddings")
        rows = [
            [
                *(equation("lookup", table, by="positions", first=first) for first in POSITION_STARTS),
                equation("lookup", table, by="row", first=0),
            ]
            for table in tables
        ]
        for count in range(1, min(len(rows), MOST_TABLES) + 1):
            for some in combinations(rows, count):
                yield from (equation("add", "embeddings", *added) for added in product(*some))

    def _resid_mid(self, block: int) -> Iterator[Equation]:
        for added in self._contributions(f"attn_out.{block}", block, self._arch.post_attn_norm(block)):
            yield equation("add", f"resid_pre.{block}", added)
        for norm in self._structure.block_norms(block):
            yield from self._normed(norm, equation("add", f"resid_pre.{block}", f"attn_out.{block}"))

    def _resid_post(self, block: int) -> Iterator[Equation]:
        before, mid = f"resid_pre.{block}", f"resid_mid.{block}"
        attention = f"attn_out.{block}"
        branches: list[str | Equation] = [f"mlp_out.{block}"]
        if self._structure.experts(block) is not None:
            branches.append(equation("add", f"mlp_out.{block}", f"shared_out.{block}"))
        after_attention, after_mlp = self._arch.post_attn_norm(block), self._arch.post_mlp_norm(block)
        for branch in branches:
            yield from (equation("add", mid, one) for one in self._contributions(branch, block, after_mlp))
            yield equation("add", before, attention, branch)
            for one, other in zip(self._scaled(attention, block), self._scaled(branch, block), strict=True):
                yield equation("add", before, one, other)
            if after_attention is not None and after_mlp is not None:
                for one in self._normed(after_attention, attention):
                    yield from (equation("add", before, one, o) for o in self._normed(after_mlp, branch))
            yield from (equation("add", before, one) for one in self._contributions(branch, block, None))
        yield from (equation("add", before, one) for one in self._contributions(attention, block, None))
        # Norms after the sum, as in the first transformers.
        for norm in self._structure.block_norms(block):
            for source in (f"mlp_in.{block}", mid):
                yield from self._normed(norm, equation("add", source, f"mlp_out.{block}"))

    def _contributions(
        self, source: str | Equation, block: int, norm: nn.Module | None
    ) -> Iterator[Equation | str]:
        """What a sublayer adds to the stream: its output as it is, normed, or scaled."""
        if norm is not None:
            yield from self._normed(norm, source)
        yield source
        for normed in self._normed(norm, source) if norm is not None else ():
            yield from self._scaled(normed, block)
        for other in self._structure.block_norms(block):
            if other is not norm:
                yield from self._normed(other, source)
        yield from self._scaled(source, block)

    # --- attention ---------------------------------------------------------------------------------

    def _attn_in(self, block: int) -> Iterator[Equation]:
        source = f"resid_pre.{block}"
        norms = [self._structure.norms(block).get("attn_norm"), *self._structure.block_norms(block)]
        for norm in unlike(norms):
            yield from self._normed(norm, source)
        yield equation("add", source)
        for norm in unlike(norms):
            for normed in self._normed(norm, source):
                yield from self._scaled(normed, block)

    def _q(self, block: int) -> Iterator[Equation]:
        yield from self._headed("q", block, self._structure.heads(block)[0])

    def _k(self, block: int) -> Iterator[Equation]:
        yield from self._headed("k", block, self._structure.heads(block)[1])

    def _v(self, block: int) -> Iterator[Equation]:
        yield from self._headed("v", block, self._structure.heads(block)[1])

    def _headed(self, role: str, block: int, heads: int) -> Iterator[Equation]:
        """A projection by heads: as it is, turned, normed before or after that (by heads or all at once), scaled."""
        norms = self._structure.qk_norms(block, role)
        plain = [
            self._mapped(f"attn_in.{block}", layout[role], heads=heads)
            for layout in self._structure.attention_layouts(block)
            if role in layout
        ]
        flat = [
            normed
            for layout in self._structure.attention_layouts(block)
            if role in layout
            for norm in norms
            for normed in self._normed(norm, self._mapped(f"attn_in.{block}", layout[role]), heads=heads)
        ]
        before = [*plain, *(n for one in plain for norm in norms for n in self._normed(norm, one)), *flat]
        if role == "v":
            yield from before
        else:
            for one in before:
                for turned in self._turned(one, block):
                    yield turned
            for one in plain:
                for turned in self._turned(one, block):
                    for norm in norms:
                        yield from self._normed(norm, turned)
                    yield from (equation("norm", turned, norm="rms", eps=eps) for eps in USUAL_EPS)
            yield from before
        for one in plain:
            for scaled in self._scaled(one, block):
                yield from self._turned(scaled, block) if role != "v" else [scaled]
                yield scaled

    def _turned(self, source: Equation, block: int) -> Iterator[Equation]:
        for pairing, table in ROTARY_STYLES:
            yield equation("rotary", source, block=block, pairing=pairing, table=table)

    def _attn_scores(self, block: int) -> Iterator[Equation]:
        attention = self._structure.attention(block)
        dot = equation("dot", f"q.{block}", f"k.{block}")
        names = ("scaling", "scale", "softmax_scale", "scale_attn")
        named = [*(getattr(attention, name, None) for name in names), 1.0]
        named.append(self._arch.head_dim_for_layer(block) ** -0.5)
        factors = dict.fromkeys(float(f) for f in named if isinstance(f, (int, float)))
        scaled = [equation("scale", dot, factor=factor) for factor in factors]
        window = self._structure.window(block)
        chunk = getattr(self._structure.model.config.get_text_config(), "attention_chunk_size", None)
        masks: list[dict[str, Any]] = [{"window": window}] if window else []
        masks += [{}, *([{"chunk": chunk}] if chunk else []), {"pattern": "model", "block": block}]
        caps = [self._arch.quirks.attn_logit_softcapping, None, *self._structure.caps()]
        for mask in masks:
            for cap in dict.fromkeys(caps):
                for one in scaled:
                    capped = equation("softcap", one, cap=cap) if cap else one
                    yield equation("mask", capped, **mask)
            yield from (equation("mask", one, **mask) for one in self._scaled(dot, block))

    def _attn_probs(self, block: int) -> Iterator[Equation]:
        yield equation("softmax", f"attn_scores.{block}")
        attention = self._structure.attention(block)
        if isinstance(attention, Refusal):
            return
        # A learned logit a head that takes part in the softmax and in nothing else (attention sinks).
        for name, parameter in attention.named_parameters(recurse=False):
            if parameter.shape == (self._structure.heads(block)[0],):
                sinks = WeightInput(name=f"{self._structure.name_of(attention)}.{name}")
                yield equation("softmax", f"attn_scores.{block}", sinks)

    def _z(self, block: int) -> Iterator[Equation]:
        mixed = equation("weighted_sum", f"attn_probs.{block}", f"v.{block}")
        yield mixed
        heads = self._structure.heads(block)[0]
        for layout in self._structure.attention_layouts(block):
            if "gate" in layout:
                gate = self._mapped(f"attn_in.{block}", layout["gate"], heads=heads)
                # One gate for a whole head, or one for each of its features.
                weight: Any = layout["gate"].module.weight
                each = {"broadcast": True} if find_whole_shape(weight)[0] == heads else {}
                for function in GATE_FUNCTIONS:
                    opened = equation("activation", gate, function=function)
                    yield equation("multiply", mixed, opened, **each)
        attention = self._structure.attention(block)
        if not isinstance(attention, Refusal):
            for norm in self._structure.find_norms(attention):
                yield from self._normed(norm, mixed, merge_heads=True, heads=heads)
                yield from self._normed(norm, mixed)

    def _attn_out(self, block: int) -> Iterator[Equation]:
        out = self._structure.attention_out(block)
        # Some families gate inside of it, in a module of several weights.
        if not isinstance(out, Refusal) and isinstance(getattr(out.module, "weight", None), Tensor):
            plain = self._mapped(f"z.{block}", out, merge_heads=True)
            yield plain
            yield from self._scaled(plain, block)

    # --- the MLP -----------------------------------------------------------------------------------

    def _mlp_in(self, block: int) -> Iterator[Equation]:
        known = self._structure.norms(block)
        norms = [known.get("mlp_norm"), known.get("attn_norm"), *self._structure.block_norms(block)]
        for source in (f"resid_mid.{block}", f"resid_pre.{block}"):
            for norm in unlike(norms):
                yield from self._normed(norm, source)
            yield equation("add", source)
        both = equation("add", f"resid_pre.{block}", f"attn_out.{block}")
        yield both
        for norm in unlike(norms):
            yield from self._normed(norm, both)

    def _mlp_layouts(self, block: int) -> list[dict[str, Projection]]:
        layouts = self._structure.mlp_layouts(block)
        return [] if isinstance(layouts, Refusal) else layouts

    def _mlp_pre(self, block: int) -> Iterator[Equation]:
        for layout in self._mlp_layouts(block):
            yield self._mapped(f"mlp_in.{block}", layout.get("gate", layout["up"]))

    def _mlp_pre_linear(self, block: int) -> Iterator[Equation]:
        for layout in self._mlp_layouts(block):
            if "gate" in layout:
                yield self._mapped(f"mlp_in.{block}", layout["up"])

    def _mlp_act(self, block: int) -> Iterator[Equation]:
        gate, up = f"mlp_pre.{block}", f"mlp_pre_linear.{block}"
        active = list(self._activated(gate, block))
        for one in active:
            yield equation("multiply", one, up)
            yield one
        # Either half of a fused projection may be the one that is activated.
        for one in self._activated(up, block):
            yield equation("multiply", one, gate)
        module = self._structure.activation(block)
        for factor in self._structure.scalars(block) if module is not None else ():
            scaled = equation("scale", gate, factor=factor)
            one = equation("activation", scaled, block=block, function=name_function(module))
            yield equation("multiply", one, up)
        holder = self._structure.mlp_holder(block)
        for norm in [] if holder is None else self._structure.find_norms(holder):
            for one in active:
                yield from self._normed(norm, equation("multiply", one, up))

    def _activated(self, source: str | Equation, block: int) -> Iterator[Equation]:
        module = self._structure.activation(block)
        if module is not None:
            yield equation("activation", source, block=block, function=name_function(module))
        yield from (equation("activation", source, function=name) for name in FUNCTIONS)

    def _mlp_out(self, block: int) -> Iterator[Equation]:
        for layout in self._mlp_layouts(block):
            plain = self._mapped(f"mlp_act.{block}", layout["down"])
            yield plain
            yield from self._scaled(plain, block)
        experts = self._structure.experts(block)
        if experts is not None:
            name = self._structure.name_of(experts.experts)
            routed = equation("sum_experts", f"mlp_in.{block}", f"expert_weights.{block}", module=name)
            shared = f"shared_out.{block}"
            yield routed
            yield equation("add", routed, shared)
            if experts.shared_gate is not None:
                gate = self._mapped(f"mlp_in.{block}", Projection(experts.shared_gate, transposed=False))
                opened = equation("activation", gate, function="Sigmoid")
                yield equation("add", routed, equation("multiply", shared, opened, broadcast=True))
            for scaled in self._scaled(routed, block):
                yield equation("add", scaled, shared)
                yield scaled

    # --- experts -----------------------------------------------------------------------------------

    def _router_logits(self, block: int) -> Iterator[Equation]:
        experts = self._structure.experts(block)
        if experts is None or experts.router is None:
            return
        for module in experts.router.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() == 2:
                for source in (f"mlp_in.{block}", f"resid_mid.{block}"):
                    yield self._mapped(source, Projection(module, transposed=False))

    def _expert_weights(self, block: int) -> Iterator[Equation]:
        experts = self._structure.experts(block)
        if experts is None:
            return
        logits = f"router_logits.{block}"
        # What restricts or shifts the choice comes first: without it the same experts are chosen most of the time.
        corrections = [*(WeightInput(name=name) for name in experts.corrections), None]
        config = self._structure.model.config.get_text_config()
        groups = int(getattr(config, "n_group", None) or 1)
        limits: list[dict[str, Any]] = [{}]
        if groups > 1:
            kept = int(getattr(config, "topk_group", None) or 1)
            limits = [{"groups": groups, "top_groups": kept, "group_experts": n} for n in (2, 1)] + limits
        for factor in (1.0, None):
            for score in ("softmax", "sigmoid", "softmax_chosen", "sigmoid_chosen"):
                for count in self._structure.choice_counts(block):
                    for renormalised in (True, False):
                        for limit in limits:
                            for correction in corrections:
                                given = [logits] if correction is None else [logits, correction]
                                yield equation(
                                    "route",
                                    *given,
                                    score=score,
                                    top_k=count,
                                    renormalised=renormalised,
                                    factor=factor,
                                    block=block,
                                    **limit,
                                )

    def _shared_out(self, block: int) -> Iterator[Equation]:
        yield from ()

    # --- parts -------------------------------------------------------------------------------------

    def _weight(self, module: nn.Module, start: int | None = None, stop: int | None = None) -> WeightInput:
        return WeightInput(name=f"{self._structure.name_of(module)}.weight", start=start, stop=stop)

    def _scaled(self, source: str | Equation, block: int | None) -> Iterator[Equation]:
        """`source` times a number that the model declares: left open, for the self-check to find which."""
        yield equation("scale", source, factor=None, block=block)

    def _mapped(self, source: str | Equation, projection: Projection, **attributes: Any) -> Equation:
        module, start, stop = projection.module, projection.start, projection.stop
        inputs: list[Input | Equation | str] = [source, self._weight(module, start, stop)]
        if getattr(module, "bias", None) is not None:
            inputs.append(WeightInput(name=f"{self._structure.name_of(module)}.bias", start=start, stop=stop))
        if projection.transposed:
            attributes["transposed"] = True
        if projection.rows is not None:
            attributes["rows"] = list(projection.rows)
        plain = equation("matmul", *inputs, **attributes)
        return self._with_change(plain, source, projection) if isinstance(module, Changed) else plain

    def _with_change(self, plain: Equation, source: str | Equation, projection: Projection) -> Equation:
        """A map with what an adapter adds to it: W x + s B c, where c = A x has an address inside a block."""
        module: Any = projection.module
        low = find_change_point(self._structure, module) or self._mapped(
            source, Projection(module.lora_A, False)
        )
        after = Projection(module.lora_B, False, projection.start, projection.stop, projection.rows)
        heads = plain.attributes.get("heads")
        added = self._mapped(low, after, **({"heads": heads} if heads else {}))
        return equation("add", plain, equation("scale", added, factor=module.scaling))

    def _changed(self, point: str, block: int) -> Iterator[Equation]:
        """What an adapter's A makes of what the matrix that it changes reads."""
        changed = find_change(self._structure, point, block)
        if changed is None:
            return
        source = READ_BY[point.removeprefix(PREFIX)]
        merged = {"merge_heads": True} if source == "z" else {}
        yield self._mapped(f"{source}.{block}", Projection(changed.lora_A, transposed=False), **merged)

    def _normed(self, module: nn.Module, source: str | Equation, **attributes: Any) -> Iterator[Equation]:
        name = self._structure.name_of(module)
        inputs: list[Input | Equation | str] = [source]
        inputs += [WeightInput(name=f"{name}.{part}") for part, _ in module.named_parameters(recurse=False)]
        eps = find_eps(module)
        kinds = ("layer",) if isinstance(module, nn.LayerNorm) else ("rms", "layer")
        for kind in kinds:
            for constant in (eps,) if eps else USUAL_EPS:
                yield equation("norm", *inputs, norm=kind, eps=constant, **attributes)
                if len(inputs) > 1:
                    yield equation("norm", *inputs, norm=kind, eps=constant, offset=1.0, **attributes)
