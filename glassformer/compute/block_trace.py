"""What a block computes for a single row, as a graph that can be compiled and that blocks alike can share.

The block's own forward is run once on tensors without numbers, and what it asks of PyTorch is written down (PyTorch
documentation, `make_fx`). Its weights are inputs of the graph, so that the code of one block serves all that do the
same with weights of the same shapes. Nothing is guarded: whoever runs the code sees to it that the block is called as
it was traced (`CallForm.match`), and that nobody wants to look inside.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from glassformer.compute.attention import is_traced, tracing
from glassformer.compute.linear import own_products

# Sums that a loop of compiled code carries on side by side: a single one waits for its own last addition, and for
# more than some there are no registers.
SUMS = 4
MM, ADDMM = torch.ops.aten.mm.default, torch.ops.aten.addmm.default
# What else than tensors a block may be given: what cannot change between two calls that are given the same.
CONSTANTS = (type(None), bool, int, float, str, torch.dtype, torch.device)


class NotTraceable(Exception):
    """The block does something that its graph would not show."""


@dataclass(frozen=True, slots=True)
class Format:
    """Shape and number format of a tensor without gaps."""

    shape: torch.Size
    dtype: torch.dtype

    def fits(self, tensor: Tensor) -> bool:
        return tensor.shape == self.shape and tensor.dtype == self.dtype and tensor.is_contiguous()


class CallForm:
    """How a block was called when it was traced, and how it gives back the tensors that its graph computes."""

    def __init__(self, args: Any, kwargs: Any, found: Any) -> None:
        """Raises NotTraceable where it was given or gave back what may hold more than it shows."""
        given = list_leaves((args, kwargs))
        if not all(isinstance(leaf, (Tensor, *CONSTANTS)) for leaf in given):
            raise NotTraceable("it is given more than tensors and constants")
        self.leaves = [Format(leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in given]
        leaves, self._result = pytree.tree_flatten(found)
        self._is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        if any(leaf is not None and not isinstance(leaf, Tensor) for leaf in leaves):
            raise NotTraceable("it gives back more than tensors")

    def match(self, args: Any, kwargs: Any) -> list[Tensor] | None:
        """The tensors of a call that is like the traced one; None for another."""
        given = list_leaves((args, kwargs))
        if len(given) != len(self.leaves):
            return None
        tensors = []
        for leaf, known in zip(given, self.leaves, strict=True):
            if isinstance(leaf, Tensor):
                if not isinstance(known, Format) or not known.fits(leaf):
                    return None
                tensors.append(leaf)
            elif leaf is not known and leaf != known:
                return None
        return tensors

    def rebuild(self, tensors: Sequence[Tensor]) -> Any:
        """What the block would have given back."""
        if self._result.is_leaf():
            return tensors[0]
        left = iter(tensors)
        return pytree.tree_unflatten([next(left) if one else None for one in self._is_tensor], self._result)


@dataclass(frozen=True)
class BlockTrace:
    """The graph of a block, a function of its `weights` and of the tensors that a call of this form gives it."""

    graph: fx.GraphModule
    weights: list[Tensor]
    form: CallForm

    @property
    def examples(self) -> list[Tensor]:
        """Tensors like those that the graph is given, none of them sharing memory with another."""
        given = [
            torch.empty(leaf.shape, dtype=leaf.dtype) for leaf in self.form.leaves if isinstance(leaf, Format)
        ]
        return [*map(make_like, self.weights), *given]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for blocks that can share their code. Compiling a graph changes it."""
        formats = ((tensor.shape, tensor.stride(), tensor.dtype) for tensor in self.examples)
        return (self.graph.code, *formats)


def trace_block(block: nn.Module, args: Any, kwargs: Any, replaced: Mapping[str, Tensor]) -> BlockTrace:
    """Trace `block` as it is called with `args` and `kwargs`, of one row.

    Tensors of `replaced` stand for its weights of these names, and are widened to their format where they are used.
    Raises NotTraceable, and what PyTorch raises where it depends on numbers what is computed.
    """
    held = dict(block.named_parameters()) | dict(block.named_buffers())
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in held.values()):
        raise NotTraceable("its weights are not plain numbers")
    weights = [replaced.get(name, tensor).detach() for name, tensor in held.items()]
    leaves, form = pytree.tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    forms: list[CallForm] = []

    def run(weights: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
        versions = [tensor._version for tensor in (*weights, *tensors)]
        left = iter(tensors)
        given = [next(left) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        called_args, called_kwargs = pytree.tree_unflatten(given, form)
        wide = {name: one.to(held[name].dtype) for name, one in zip(held, weights, strict=True)}
        before = [*wide.values()]
        found = functional_call(block, wide, called_args, called_kwargs)
        if versions != [tensor._version for tensor in (*weights, *tensors)]:
            raise NotTraceable("it changes what it is given")
        if not are_same(before, wide.values()) or not are_same(
            given, list_leaves((called_args, called_kwargs))
        ):
            raise NotTraceable("it puts others in the place of its weights, or of what it is given")
        forms.append(CallForm(called_args, called_kwargs, found))
        return [leaf for leaf in pytree.tree_leaves(found) if isinstance(leaf, Tensor)]

    with torch.no_grad(), unhooked(block.modules()), own_products(block), tracing(), compiling():
        graph = make_fx(run, tracing_mode="fake")(weights, [make_like(tensor) for tensor in tensors])
    if any(node.op == "get_attr" for node in graph.graph.nodes):
        raise NotTraceable("it holds tensors that are no weights")
    write_sums(graph)
    graph.graph.set_codegen(fx.graph.CodeGen())  # takes and gives plain tensors, one by one
    graph.recompile()
    return BlockTrace(graph, weights, forms[-1])


def are_same(some: Iterable[object], others: Iterable[object]) -> bool:
    """Whether these are the same objects in the same order."""
    return [*map(id, some)] == [*map(id, others)]


def list_leaves(value: Any) -> list[Any]:
    """What nested tuples, lists and dicts hold, as `pytree.tree_leaves` lists it: for every call of every block."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return [value]
    return [leaf for one in value for leaf in list_leaves(one)]


def make_like(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, strides and format, with memory of its own."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


class InTracedThread(int):
    """A flag that is up for the thread that traces a block, and for no other."""

    def __bool__(self) -> bool:
        return is_traced()


@contextmanager
def compiling() -> Iterator[None]:
    """Let a traced block do what models do for compilers, which cannot follow what depends on numbers.

    As `torch.export` does, but for models that compute in other threads meanwhile.
    """
    former = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = InTracedThread()  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = former


@contextmanager
def unhooked(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Take the hooks of `modules` off: transformers leaves idle ones behind where it was asked for hidden states."""
    kept = [(module, module._forward_hooks, module._forward_pre_hooks) for module in modules]
    for module, *_ in kept:
        module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for module, hooks, pre_hooks in kept:
            module._forward_hooks, module._forward_pre_hooks = hooks, pre_hooks


def write_sums(graph: fx.GraphModule) -> None:
    """Write products with a single row as sums, which are fused with what comes before and after.

    The loops of products with the same row are made one by the compiler; each is split so that it has `SUMS` in all.
    """
    products = [
        node
        for node in graph.graph.nodes
        if node.target in (MM, ADDMM) and not node.kwargs and node.args[-2].meta["val"].shape[0] == 1
    ]
    together = Counter(find_source(node.args[-2]) for node in products)
    for node in products:
        *bias, row, weight = node.args
        node.target, node.args = multiply_row, (row, weight, *bias)
        node.kwargs = {"parts": max(1, SUMS // together[find_source(row)])}


def find_source(node: fx.Node) -> fx.Node:
    """The node whose numbers `node` is a view of."""
    while node.target is torch.ops.aten.view.default:
        (node, _) = node.args  # type: ignore[assignment]
    return node


def multiply_row(row: Tensor, weight: Tensor, bias: Tensor | None = None, *, parts: int) -> Tensor:
    """A row [1, d_in] times a weight [d_in, d_out] as sums in float32, for each of `parts` of the weight."""
    column = row.t().float()
    pieces = weight.split(max(1, weight.shape[1] // parts), 1)
    found = torch.cat([(column * piece.float()).sum(0, keepdim=True) for piece in pieces], 1)
    return (found if bias is None else found + bias.float()).to(row.dtype)
