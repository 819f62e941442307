"""Single rows through blocks and a head that inductor has compiled, for a model that writes one text at a time.

A step of one row reads every weight once and computes next to nothing, so what is left of its time is the several
hundred small operations that a model's own code dispatches one by one. Here each block is traced (`block_trace.py`) and
compiled once for all blocks like it (PyTorch documentation, `torch._inductor.compile`); a product with one row becomes
a sum, which the compiler fuses with what comes before and after it, and which reads weights in the 16 bits they were
stored in. Attention stays the tap's. The model's own code still computes steps of several rows, and whatever somebody
looks into.

Needs a C++ compiler. A model whose compiled blocks fail, change its logits or are no quicker keeps its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glassformer.compute.attention import find_watch, watching
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.block_trace import BlockTrace, NotTraceable, trace_block
from glassformer.compute.hooking import hook_input
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.likeness import is_rounding, measure_change
from glassformer.compute.linear import WORTH, copy_for_sums, is_plain_linear, list_shortened
from glassformer.compute.packed_row import find_packing
from glassformer.compute.packing import compute_packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Code = Callable[..., Sequence[Tensor]]
"""Compiled code: of the weights of a block and the tensors it is given, the tensors it gives back."""
# Inductor's: no processes of its own, no look at sizes that `CallForm.match` has looked at, and what a product's loop
# would compute anew for each output feature, a norm above all, is computed before it. It asks when it runs how many
# threads it has.
OPTIONS = {
    "compile_threads": 1,
    "cpp.dynamic_threads": True,
    "size_asserts": False,
    "realize_reads_threshold": 1,
}
# Tracing and compiling change PyTorch's modules for the whole process, and put back what they found.
one_at_a_time = threading.Lock()
# Single-row steps that are compared with the model's own, and timed.
TRIED_STEPS = 12


class CompiledForward:
    """What stands in a block's or head's `forward`: compiled code for a row that nobody looks into, else its own.

    `call` is a call of the block's attention.
    """

    def __init__(
        self, part: nn.Module, trace: BlockTrace, code: Code, call: AttentionCall | None = None
    ) -> None:
        self.code = code
        self.fault: str | None = None
        self._weights, self._form = trace.weights, trace.form
        self._call = call
        self._plain = part.forward
        inner = [module for module in part.modules() if module is not part]
        self._hooks = [hooks for one in inner for hooks in (one._forward_hooks, one._forward_pre_hooks)]
        self._idle_hooks = sum(map(len, self._hooks))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        packed = find_packing()
        is_mine = packed is not None and packed.is_single and self.fault is None and not self._is_looked_into
        tensors = self._form.match(args, kwargs) if is_mine else None
        if packed is None or tensors is None:
            return self._plain(*args, **kwargs)
        packed.compiled_call, calls = self._call, packed.calls
        try:
            return self._form.rebuild(self.code(*self._weights, *tensors))
        except Exception as exc:
            packed.calls = calls
            found = self._plain(*args, **kwargs)  # or it fails as well, for want of memory perhaps
            self.fault = f"its compiled code fails ({type(exc).__name__})"
            log.warning("a block's own code goes on: %s", self.fault)
            log.debug("that failed", exc_info=exc)
            return found

    @property
    def _is_looked_into(self) -> bool:
        return find_watch() is not None or sum(map(len, self._hooks)) != self._idle_hooks


def install_compiled(
    model: PreTrainedModel, blocks: list[nn.Module], *, vocab: int, context: int, spare_bytes: int = 0
) -> tuple[str | None, int]:
    """Let `model` compute single rows through compiled `blocks`; why it does not, None where it does.

    Of the weights that `install_products` has looked at, those which a sum reads quicker in another format or order are
    copied (`copy_for_sums`), if `spare_bytes` hold all copies; the bytes that they take come second.
    """
    if model.device.type != "cpu":
        return "only models on a CPU gain from it", 0
    formers: dict[nn.Module, Any] = {}
    try:
        parts = [*blocks, *list_heads(model)]
        formers = {part: vars(part).get("forward") for part in parts}
        ids = [pos % vocab for pos in range(min(TRIED_STEPS, context))]
        with one_at_a_time:
            copies = copy_weights(parts, spare_bytes)
            fault = try_compiled(model, blocks, copies, ids)
        if fault is None:
            return None, sum(copy.nbytes for named in copies.values() for copy in named.values())
    except NotTraceable as exc:
        fault = f"what computes a row cannot be traced: {exc}"
    except Exception as exc:
        log.debug("trying compiled blocks failed", exc_info=exc)
        # The cause itself is not named: with its traceback it would keep the copies alive.
        fault = f"compiling its blocks fails ({type(getattr(exc, 'inner_exception', exc)).__name__})"
    for part, former in formers.items():
        vars(part).pop("forward", None)
        if former is not None:
            part.forward = former
    return fault, 0


def list_heads(model: PreTrainedModel) -> list[nn.Module]:
    """The model's output head, if that only multiplies: a large share of the weights that a row is multiplied with."""
    head = model.get_output_embeddings()
    return [head] if isinstance(head, nn.Module) and is_plain_linear(head) else []


def try_compiled(
    model: PreTrainedModel,
    blocks: list[nn.Module],
    copies: dict[nn.Module, dict[str, Tensor]],
    ids: list[int],
) -> str | None:
    """Put compiled code into the parts that `copies` lists, blocks first, and hold it against theirs over `ids`.

    Returns what speaks against keeping it.
    """
    calls: list[AttentionCall] = []
    with watching(calls.append), ExitStack() as stack:
        given = {part: listen(part, stack) for part in copies}
        run_steps(model, ids[:1])
    owners = {module: number for number, block in enumerate(blocks) for module in block.modules()}
    if [owners.get(call.module) for call in calls] != list(range(len(blocks))):
        return "not every block makes one attention call"
    plain, plain_secs = run_steps(model, ids)
    codes: dict[object, Code] = {}
    compiled: list[CompiledForward] = []
    for part, call in zip_longest(copies, calls):
        if len(given[part]) != 1:  # a head that its model passes over
            continue
        trace = trace_block(part, *given[part][0], replaced=copies[part])
        key = trace.key
        if key not in codes:
            codes[key] = torch._inductor.compile(trace.graph, [*trace.examples], OPTIONS)
        compiled.append(CompiledForward(part, trace, codes[key], call and empty(call)))
        part.forward = compiled[-1]
    run_steps(model, ids[:2])
    found, secs = run_steps(model, ids)
    faults = [forward.fault for forward in compiled if forward.fault is not None]
    if faults:
        return faults[0]
    if not is_rounding(measure_change(found, plain), model.dtype):
        return "its logits change"
    if secs > WORTH * plain_secs:
        return "it is no quicker"
    log.info("a step of one row takes %.2f of the time it took", secs / plain_secs)
    return None


def copy_weights(parts: list[nn.Module], spare_bytes: int) -> dict[nn.Module, dict[str, Tensor]]:
    """For each part copies of weights, by name, that are quicker to read; none at all where they do not fit."""
    copies: dict[nn.Module, dict[str, Tensor]] = {part: {} for part in parts}
    for part, copied in copies.items():
        for name, linear in list_shortened(part).items():
            fits = linear.weight.numel() * torch.bfloat16.itemsize <= spare_bytes
            copy = copy_for_sums(linear) if fits else None
            if copy is not None:
                copied[f"{name}.weight".lstrip(".")] = copy
                spare_bytes -= copy.nbytes
            if not fits or spare_bytes < 0:
                return {part: {} for part in parts}
    return copies


def listen(part: nn.Module, stack: ExitStack) -> list[tuple[Any, Any]]:
    """A list that `args` and `kwargs` of all calls of `part` come into, until `stack` is closed."""
    given: list[tuple[Any, Any]] = []
    handle = hook_input(part, lambda _, args, kwargs: given.append((args, kwargs)))
    stack.callback(handle.remove)
    return given


def empty(call: AttentionCall) -> AttentionCall:
    """What a call says beside its tensors, which would keep a store alive."""
    nothing = torch.empty(0)
    return replace(call, query=nothing, key=nothing, value=nothing, mask=None)


@torch.inference_mode()
def run_steps(model: PreTrainedModel, ids: list[int]) -> tuple[Tensor, float]:
    """Logits [step, vocab] of single-row steps over `ids`, and the seconds of the quickest."""
    store = KeyValueStore()
    rows, best = [], float("inf")
    for pos, token_id in enumerate(ids):
        started = time.perf_counter()
        rows.append(compute_packed(model, [token_id], [pos], [PackedSpan(slice(0, 1), pos, store)], [0]))
        best = min(best, time.perf_counter() - started)
    return torch.cat(rows).float(), best
