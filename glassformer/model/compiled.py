"""Single rows through blocks that `torch.compile` has fused, for a model that writes one text at a time.

A step of one row reads every weight once and computes next to nothing, so what is left of its time is the several
hundred small operations that a model's own code dispatches one by one. Here the forward of a block is traced as it is
and compiled once for all blocks like it (PyTorch documentation, "Reducing compile time with regional compilation"); a
product with one row becomes a sum, which the compiler fuses with what comes before and after it. Attention stays the
tap's. The model's own code still computes steps of several rows, and whatever somebody looks into.

Needs a C++ compiler. A model whose compiled blocks fail, change its logits or are no quicker keeps its own.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glassformer.model.attention import AttentionCall, Span, find_packing, watching
from glassformer.model.key_value import KeyValueStore
from glassformer.model.linear import WORTH
from glassformer.model.packing import compute_packed, is_small

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# Single-row steps that are compared with the model's own, and timed.
TRIED_STEPS = 12


class BlockCode:
    """The compiled forward of a class of blocks, shared by all of a model's; unused from its first `fault` on."""

    def __init__(self, kind: type[nn.Module]) -> None:
        def forward(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return kind.forward(block, *args, **kwargs)

        # What was compiled is kept by code object, a few variants each: every model gets its own.
        forward.__code__ = forward.__code__.replace(co_name=f"forward_{kind.__name__}")
        self.run = torch.compile(forward, backend=compile_graph, dynamic=False, fullgraph=True)
        self.fault: str | None = None


class CompiledBlock:
    """What stands in a block's `forward`: compiled code for a single row that nobody looks into, else its own."""

    def __init__(self, block: nn.Module, code: BlockCode, call: AttentionCall) -> None:
        self.code = code
        self._block = block
        self._call = call
        self._plain = block.forward
        self.inner = [module for module in block.modules() if module is not block]
        self.idle_hooks = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        packed = find_packing()
        if packed is None or not packed.is_single or self.code.fault is not None or self._is_hooked:
            return self._plain(*args, **kwargs)
        packed.compiled_call, calls = self._call, packed.calls
        try:
            return self.code.run(self._block, *args, **kwargs)
        except Exception as exc:  # also later on: what is given in another way is compiled anew
            cause = getattr(exc, "inner_exception", exc)
            self.code.fault = f"compiling its blocks fails ({type(cause).__name__})"
            log.warning("a block's own code goes on: %s", self.code.fault)
            log.debug("that failed", exc_info=exc)
            packed.calls = calls
            return self._plain(*args, **kwargs)

    @property
    def _is_hooked(self) -> bool:
        return self.count_hooks() != self.idle_hooks

    def count_hooks(self) -> int:
        """Hooks inside the block, of which `idle_hooks` look at nothing."""
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in self.inner)


def install_compiled(
    model: PreTrainedModel, blocks: list[nn.Module], *, vocab: int, context: int
) -> str | None:
    """Let `model` compute single rows through compiled `blocks`; says why it does not, None where it does."""
    if model.device.type != "cpu":
        return "only models on a CPU gain from it"
    try:
        fault = try_compiled(model, blocks, [pos % vocab for pos in range(min(TRIED_STEPS, context))])
    except Exception as exc:
        log.debug("trying compiled blocks failed", exc_info=exc)
        fault = f"trying it fails ({type(exc).__name__})"
    if fault is not None:
        for block in blocks:
            vars(block).pop("forward", None)
    return fault


def try_compiled(model: PreTrainedModel, blocks: list[nn.Module], ids: list[int]) -> str | None:
    """Put compiled code into `blocks` and hold it against their own over `ids`; what speaks against keeping it."""
    calls: list[AttentionCall] = []
    with watching(calls.append):
        run_steps(model, ids[:1])
    owners = {module: number for number, block in enumerate(blocks) for module in block.modules()}
    if [owners.get(call.module) for call in calls] != list(range(len(blocks))):
        return "not every block makes one attention call"
    plain, plain_secs = run_steps(model, ids)
    codes = {kind: BlockCode(kind) for kind in {type(block) for block in blocks}}
    compiled = [
        CompiledBlock(block, codes[type(block)], empty(call))
        for block, call in zip(blocks, calls, strict=True)
    ]
    for block, forward in zip(blocks, compiled, strict=True):
        block.forward = forward
    with unhooked(module for forward in compiled for module in forward.inner):
        run_steps(model, ids[:2])  # compiles
    for forward in compiled:
        forward.idle_hooks = forward.count_hooks()
    found, secs = run_steps(model, ids)
    for code in codes.values():
        if code.fault is not None:
            return code.fault
    if not is_small(float((found - plain).abs().max()), float(plain.abs().max()), model.dtype):
        return "its logits change"
    if secs > WORTH * plain_secs:
        return "it is no quicker"
    log.info("a step of one row takes %.2f of the time it took", secs / plain_secs)
    return None


def empty(call: AttentionCall) -> AttentionCall:
    """What a call says beside its tensors, which would keep a store alive."""
    nothing = torch.empty(0)
    return replace(call, query=nothing, key=nothing, value=nothing, mask=None)


def compile_graph(graph: Any, inputs: Any) -> Any:
    """Compile a traced forward with inductor, products of one row as sums."""
    from torch._inductor.compile_fx import compile_fx
    from torch._inductor.decomposition import select_decomp_table

    aten = torch.ops.aten
    return compile_fx(
        graph,
        inputs,
        config_patches={"compile_threads": 1},
        decompositions={
            **select_decomp_table(),
            aten.mm.default: multiply_row,
            aten.addmm.default: multiply_row_and_add,
        },
    )


def multiply_row(rows: Tensor, weight: Tensor) -> Any:
    """`mm` as a sum that can be fused; several rows are left to the library."""
    return sum_products(rows, weight).to(rows.dtype) if rows.shape[0] == 1 else NotImplemented


def multiply_row_and_add(
    bias: Tensor, rows: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1
) -> Any:
    """`addmm` likewise."""
    if rows.shape[0] != 1 or beta != 1 or alpha != 1:
        return NotImplemented
    return (sum_products(rows, weight) + bias.float()).to(rows.dtype)


def sum_products(row: Tensor, weight: Tensor) -> Tensor:
    """A row [1, d_in] times a weight [d_in, d_out], in float32."""
    return (row.t().float() * weight.float()).sum(0, keepdim=True)


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


@torch.inference_mode()
def run_steps(model: PreTrainedModel, ids: list[int]) -> tuple[Tensor, float]:
    """Logits [step, vocab] of single-row steps over `ids`, and the seconds of the quickest."""
    store = KeyValueStore()
    rows, best = [], float("inf")
    for pos, token_id in enumerate(ids):
        started = time.perf_counter()
        rows.append(compute_packed(model, [token_id], [pos], [Span(slice(0, 1), pos, store)], [0]))
        best = min(best, time.perf_counter() - started)
    return torch.cat(rows).float(), best
