"""Reading tensors out of a forward while it runs: hooks for module boundaries, the tap for attention.

Opt-in and short-lived: hooks are registered on entry and removed on exit, so what nobody captures costs nothing.
Memory: one tensor for each captured site, alive until the capture is dropped. Knows nothing of recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from glassformer.compute.attention import watching
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.errors import UnknownAddress
from glassformer.operation.matmul import list_rows
from glassformer.protocol.address import split_address
from glassformer.structure.changed import PREFIX, locate_change
from glassformer.structure.module import count_experts
from glassformer.structure.residual import first_tensor
from glassformer.structure.role import Hook, Refusal
from glassformer.structure.structure import Structure

# Points that no module boundary carries: the attention tap gives them.
TAPPED_POINTS = frozenset({"q", "k", "v", "attn_scores", "attn_probs"})
# Points that may be a run of the features of one fused projection, and the role that tells which.
EXPERT_POINTS = frozenset({"router_logits", "expert_weights", "shared_out"})
FUSED_POINTS = {"mlp_pre": "gate", "mlp_pre_linear": "up"}


class Capture:
    """The sites of one forward, filled while `open` is entered.

    `values` maps addresses to tensors without the batch axis: [pos, feature], or [head, pos, d_head] for q, k, v and
    z. `calls` maps blocks to their attention call, from which scores and probabilities are formed on demand;
    `rotary` maps blocks whose q or k is captured to their cosine and sine tables, [pos, d_rotary].
    """

    def __init__(self, structure: Structure, addresses: Iterable[str]) -> None:
        self._structure = structure
        self.addresses = frozenset(addresses)
        self.values: dict[str, Tensor] = {}
        self.calls: dict[int, AttentionCall] = {}
        # By block and first row: a packed forward makes a call for each of its sequences.
        self._calls: dict[tuple[int, int], AttentionCall] = {}
        self.rotary: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def open(self) -> Iterator[Capture]:
        """Capture every forward that this thread runs inside."""
        with ExitStack() as stack:
            wanted: dict[int, int] = {}
            for address in sorted(self.addresses):
                point, block = split_address(address)
                place = locate(self._structure, point, block)
                if isinstance(place, Refusal):
                    raise UnknownAddress(address, place.reason)
                is_tapped = self._structure.untapped is None
                if point in TAPPED_POINTS and block is not None and is_tapped:
                    if id(place.module) not in wanted:
                        stack.enter_context(self._read_tables(place.module, block))
                    wanted[id(place.module)] = block
                else:
                    stack.enter_context(self._hook(address, place))
            if wanted:
                stack.enter_context(watching(lambda call: self._take_call(call, wanted)))
            yield self

    def read_rows(self, address: str, rows: slice) -> Tensor | None:
        """A site at the rows of one sequence in a packed forward, in the site's axis order; None if not captured."""
        point, block = split_address(address)
        if block is None or point not in TAPPED_POINTS or self._structure.untapped is not None:
            value = self.values.get(address)
            if value is None:
                return None
            return value[:, rows] if value.dim() == 3 else value[rows]
        call = self._calls.get((block, rows.start))
        if call is None:
            return None
        fresh = call.query.shape[1]
        match point:
            case "q":
                return call.query
            case "k":
                return call.key[:, -fresh:]
            case "v":
                return call.value[:, -fresh:]
            case "attn_scores":
                return call.widened().scores()
        return call.widened().probabilities()

    @contextmanager
    def _hook(self, address: str, place: Hook) -> Iterator[None]:
        point, block = split_address(address)

        def take(value: Any) -> None:
            tensor = value[place.item] if isinstance(value, (tuple, list)) else value
            if isinstance(tensor, Tensor):
                self.values[address] = self._shape(point, block, tensor.detach())

        with read_hook(place, take):
            yield

    @contextmanager
    def _read_tables(self, attention: nn.Module, block: int) -> Iterator[None]:
        """Keep the rotary tables that the model hands to a block's attention, if it does."""

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tables = kwargs.get("position_embeddings")
            if isinstance(tables, (tuple, list)) and len(tables) == 2:
                cos, sin = tables
                self.rotary[block] = (cos.reshape(-1, cos.shape[-1]), sin.reshape(-1, sin.shape[-1]))

        handle = hook_input(attention, take)
        try:
            yield
        finally:
            handle.remove()

    def _shape(self, point: str, block: int | None, tensor: Tensor) -> Tensor:
        if point == "v" and block is not None:
            return self._shape_values(block, tensor[0])
        if point in TAPPED_POINTS:
            return tensor.clone()
        rows = tensor[0] if tensor.dim() > 2 else tensor
        if point == "z" and block is not None:
            call = self.calls.get(block)
            heads = self._structure.heads(block)[0] if call is None else call.query.shape[0]
            rows = rows.view(rows.shape[0], heads, -1).transpose(0, 1)
        if point in FUSED_POINTS and block is not None:
            projections = self._structure.mlp_projections(block)
            half = None if isinstance(projections, Refusal) else projections.get(FUSED_POINTS[point])
            if half is not None:
                rows = rows[:, half.start : half.stop]
        # A later operation may write in place into what a hook was handed.
        return rows.clone()

    def _shape_values(self, block: int, rows: Tensor) -> Tensor:
        """Values [kv_head, pos, d_head] from what the map that gives them gave, [pos, feature]."""
        values, (_, kv_heads) = self._structure.values(block), self._structure.heads(block)
        if values is not None and values.rows is not None:
            rows = rows[:, list_rows(list(values.rows), rows.shape[1])]
        elif values is not None:
            rows = rows[:, values.start : values.stop]
        if not kv_heads or rows.shape[1] % kv_heads:
            return rows.clone()
        return rows.view(rows.shape[0], kv_heads, -1).transpose(0, 1).clone()

    def _take_call(self, call: AttentionCall, wanted: dict[int, int]) -> None:
        block = wanted.get(id(call.module))
        if block is None:
            return
        self.calls[block] = call
        self._structure.note_heads(block, call.query.shape[0], call.key.shape[0])
        self._calls[block, call.first_row] = call
        fresh = call.query.shape[1]
        for point, tensor in (("q", call.query), ("k", call.key), ("v", call.value)):
            if f"{point}.{block}" in self.addresses:
                self.values[f"{point}.{block}"] = tensor[:, -fresh:].detach().clone()


def sift_addresses(structure: Structure, addresses: Iterable[str], refusals: dict[str, str]) -> list[str]:
    """Those of `addresses` that a model has a place for; why it has none for the others goes into `refusals`."""
    found = []
    for address in addresses:
        place = locate(structure, *split_address(address))
        if isinstance(place, Refusal):
            refusals[address] = place.reason
        else:
            found.append(address)
    return found


def locate(structure: Structure, point: str, block: int | None) -> Hook | Refusal:
    """Where a point is read: its module boundary, or for tapped points the attention module itself."""
    if block is None:
        return structure.locate(point, None)
    if point in ("resid_pre", "resid_post"):
        return Hook(structure.blocks[block], "input" if point == "resid_pre" else "output")
    if point.startswith(PREFIX):
        return locate_change(structure, point, block)
    if point in TAPPED_POINTS:
        attention = structure.attention(block)
        if isinstance(attention, Refusal) or structure.untapped is None:
            return attention if isinstance(attention, Refusal) else Hook(attention, "input")
        if point == "attn_probs":
            return Hook(attention, "pattern")
        values = structure.values(block) if point == "v" else None
        return Refusal(structure.untapped) if values is None else Hook(values.module, "output")
    if point in EXPERT_POINTS:
        return _locate_expert_point(structure, point, block)
    if point == "z":
        out = structure.attention_out(block)
        return out if isinstance(out, Refusal) else Hook(out.module, "input")
    found = structure.locate(point, block)
    if point in ("attn_in", "attn_out") and isinstance(found, Refusal):
        # What mixes positions in place of attention is read at the same two boundaries.
        mixer = structure.mixer(block)
        return (
            mixer if isinstance(mixer, Refusal) else Hook(mixer, "input" if point == "attn_in" else "output")
        )
    return found


def _locate_expert_point(structure: Structure, point: str, block: int) -> Hook | Refusal:
    experts = structure.experts(block)
    if experts is None:
        return Refusal("this block has no experts")
    if point == "expert_weights":
        return Hook(experts.experts, "choice")
    module = experts.router if point == "router_logits" else experts.shared
    return Refusal("this block has none") if module is None else Hook(module, "output")


@contextmanager
def read_hook(place: Hook, take: Any) -> Iterator[None]:
    """Call `take` with what a module is given or gives, each time it runs.

    `side` is "input" or "output"; "choice" is the weight of every expert [pos, expert], zero where it was not chosen;
    "pattern" is the attention probabilities among a module's outputs, where it gives them.
    """
    if place.side in ("input", "choice"):

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if place.side == "choice":
                take(_spread_choice(module, [*args, *kwargs.values()]))
            else:
                take(args[0] if args else first_tensor(kwargs))

        handle = hook_input(place.module, before)
    else:

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if place.side == "output":
                take(output)
                return
            for item in output if isinstance(output, (tuple, list)) else ():
                if isinstance(item, Tensor) and item.dim() == 4 and item.shape[2] <= item.shape[3]:
                    take(item[0])

        handle = hook_output(place.module, after)
    try:
        yield
    finally:
        handle.remove()


def _spread_choice(experts: nn.Module, given: list[Any]) -> Tensor:
    """Weights [pos, expert] from the chosen experts and their weights, each [pos, choice]."""
    chosen = next(item for item in given if isinstance(item, Tensor) and not item.is_floating_point())
    weights = next(item for item in given[1:] if isinstance(item, Tensor) and item.is_floating_point())
    count = count_experts(experts) or int(chosen.max()) + 1
    if weights.shape != chosen.shape:
        return weights.reshape(-1, weights.shape[-1])
    return weights.new_zeros(len(chosen), count).scatter(-1, chosen, weights)
