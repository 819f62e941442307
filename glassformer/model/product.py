"""How the linear layers of a packed step are computed on a CPU: in whichever of four ways is quickest there.

A step multiplies each weight with a few rows. Libraries are made for many rows, or for one: on some processors
`torch.nn.functional.linear` needs three times as long for four rows as for one, where the same product turned around,
computed from 16-bit weights widened a strip at a time, or from a copy of the weight in the order of oneDNN's kernels
costs what reading the weights costs. Where a processor has no 16-bit arithmetic, it takes seven times as long for the
many rows of a prompt as the widened weights do. Which way is quickest depends on the processor, the number format and
the number of rows, so it is measured once on the model's own weights (bench/results/product.md). All are the same sum
in another order. The copies are made only where there is room for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glassformer.model.attention import is_packing, is_traced

Product = Callable[[Tensor], Tensor]
"""Of rows [row, d_in] with a weight [d_out, d_in] that it knows: [row, d_out]."""
Way = Callable[[Tensor], Product]
"""Makes a weight's product."""

# Numbers of rows that are tried; one between two of them, or beyond the last, is computed like the smaller.
TRIED_ROWS = (1, 2, 3, 4, 6, 8, 16, 32, 128)
# For which oneDNN lays a copy out; it serves other numbers as well.
TYPICAL_ROWS = 16
# Output features that are widened at a time: large enough to keep both cores busy, small enough for their caches.
STRIP = 1024
# Models whose weights are smaller gain nothing worth measuring.
FEWEST_BYTES = 2**22
# Weights that are tried together, so that they do not all lie in the processor's cache, and repetitions. Many rows
# are bound by arithmetic, which one weight shows as well.
TRIED_WEIGHTS, REPETITIONS = 8, 4
MANY_ROWS = 64
# A way that took so many times the best is not tried again.
HOPELESS = 2.0
# A way other than the library's own must be this much quicker.
WORTH = 0.95


def plainly(weight: Tensor) -> Product:
    """As the library does it."""
    return partial(functional.linear, weight=weight)


def turned(weight: Tensor) -> Product:
    """The weight times the rows as columns."""
    return partial(multiply_turned, weight=weight)


def multiply_turned(rows: Tensor, weight: Tensor) -> Tensor:
    if len(rows) == 1:  # twice, to be a matrix and not a vector
        return torch.mm(weight, rows.repeat(2, 1).t())[:, :1].t()
    return torch.mm(weight, rows.t()).t()


def widened(weight: Tensor) -> Product:
    """Turned, with a strip of the weight widened to float32 at a time; for processors without 16-bit products."""
    return partial(multiply_widened, weight=weight)


def multiply_widened(rows: Tensor, weight: Tensor) -> Tensor:
    columns = rows.float().t()
    product = rows.new_empty(len(rows), len(weight))
    strip = torch.empty(min(STRIP, len(weight)), weight.shape[1])
    for start in range(0, len(weight), STRIP):
        stop = min(start + STRIP, len(weight))
        wide = strip[: stop - start]
        wide.copy_(weight[start:stop])
        product[:, start:stop] = torch.mm(wide, columns).t()
    return product


def reordered(weight: Tensor) -> Product:
    """A copy of the weight in the order oneDNN likes best, as torch.compile's freezing makes one too.

    In float32 where oneDNN has no kernels for the weight's own format on this processor. Raises RuntimeError where it
    has none at all.
    """
    if not has_kernel(weight.dtype):
        wide = reordered(weight.float())
        return lambda rows: wide(rows.float()).to(rows.dtype)
    copy = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise.default
    return lambda rows: multiply(rows, copy, None, "none", [], "")


@cache
def has_kernel(dtype: torch.dtype) -> bool:
    """Whether oneDNN can multiply reordered weights of this number format on this processor."""
    probe = torch.zeros(16, 16, dtype=dtype)
    try:
        copy = torch.ops.mkldnn._reorder_linear_weight(probe, TYPICAL_ROWS)
        torch.ops.mkldnn._linear_pointwise(probe, copy, None, "none", [], "")
    except (RuntimeError, AttributeError):
        return False
    return True


def install_products(model: nn.Module, *, spare_bytes: int = 0) -> tuple[dict[int, str], int]:
    """Let the linear layers of `model` be computed in the quickest way while packing.

    Copies of weights may take `spare_bytes`. Returns the ways chosen by number of rows, and the bytes taken. Does
    nothing for models on other devices, tiny ones, and those without plain linear layers.
    """
    linears = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
        and module.weight.is_floating_point()
    ]
    weights = [linear.weight.detach() for linear in linears]
    size = sum(weight.nbytes for weight in weights)
    if size < FEWEST_BYTES or len({weight.dtype for weight in weights}) != 1:
        return {}, 0
    dtype = weights[0].dtype
    copies = size if has_kernel(dtype) else size * torch.float32.itemsize // dtype.itemsize
    chosen = choose_ways(weights, may_copy=copies <= spare_bytes)
    for linear in linears:
        linear.forward = Shortcut(linear, spread(chosen, linear.weight.detach())).compute  # type: ignore[assignment, method-assign]
    taken = copies if reordered in chosen.values() else 0
    return {count: way.__name__ for count, way in chosen.items()}, taken


class Shortcut:
    """What `nn.Linear` computes, with the product there is for the number of rows; called some hundred times a step."""

    __slots__ = ("bias", "products", "weight")

    def __init__(self, linear: nn.Linear, products: Sequence[Product | None]) -> None:
        self.weight, self.bias, self.products = linear.weight, linear.bias, products

    def compute(self, given: Tensor) -> Tensor:
        """`given` is [..., d_in]."""
        if is_traced():
            return functional.linear(given, self.weight, self.bias)
        shape = given.shape
        count = given.numel() // shape[-1]
        product = self.products[min(count, len(self.products) - 1)] if is_packing() else None
        if product is None or given.dtype != self.weight.dtype:
            return functional.linear(given, self.weight, self.bias)
        # A turned product leaves columns side by side, which would make the next one, and fused attention, slow.
        found = product(given.reshape(count, shape[-1]).contiguous()).contiguous()
        if self.bias is not None:
            found += self.bias
        return found.view(*shape[:-1], found.shape[-1])


def spread(chosen: dict[int, Way], weight: Tensor) -> list[Product | None]:
    """The weight's product for each number of rows, the last one for all beyond; None: the library's own."""
    made = {way: None if way is plainly else way(weight) for way in set(chosen.values())}
    least = min(chosen)
    return [
        made[chosen[max((tried for tried in chosen if tried <= count), default=least)]]
        for count in range(max(chosen) + 1)
    ]


@torch.inference_mode()
def choose_ways(weights: list[Tensor], *, may_copy: bool) -> dict[int, Way]:
    """For each number of rows tried the quickest way, by trying all on the largest of `weights`."""
    tried = sorted(weights, key=lambda weight: weight.nbytes, reverse=True)[:TRIED_WEIGHTS]
    # The output head of a large vocabulary alone would take a second.
    tried = [weight[: max(1, 2**23 // weight.shape[1])] for weight in tried]
    made = {way: [way(weight) for weight in tried] for way in list_ways(tried[0], may_copy=may_copy)}
    chosen: dict[int, Way] = {}
    for count in TRIED_ROWS:
        secs = measure(made, count, tried if count < MANY_ROWS else tried[:1])
        best = min(secs, key=lambda way: secs[way])
        chosen[count] = best if secs[best] < WORTH * secs[plainly] else plainly
    return chosen


def list_ways(weight: Tensor, *, may_copy: bool) -> list[Way]:
    """What can be tried for weights like this one on this processor."""
    ways: list[Way] = [plainly, turned]
    if weight.dtype in (torch.bfloat16, torch.float16):
        ways.append(widened)
    if may_copy and has_kernel(torch.float32):
        ways.append(reordered)
    return ways


def measure(made: dict[Way, list[Product]], count: int, weights: Sequence[Tensor]) -> dict[Way, float]:
    """Seconds that the products of each way take for all `weights`: the quickest of some repetitions in turn."""
    given: dict[int, Any] = {
        width: torch.ones(count, width, dtype=weights[0].dtype)
        for width in {weight.shape[1] for weight in weights}
    }
    secs = dict.fromkeys(made, float("inf"))
    hopeful = list(made)
    for way in hopeful:  # a library makes its kernels when they are first asked for
        made[way][0](given[weights[0].shape[1]])
    for _ in range(REPETITIONS):
        for way in hopeful:
            started = time.perf_counter()
            for product, weight in zip(made[way], weights, strict=False):
                product(given[weight.shape[1]])
            secs[way] = min(secs[way], time.perf_counter() - started)
        best = min(secs.values())
        hopeful = [way for way in hopeful if secs[way] < HOPELESS * best]
    return secs
