"""How the linear layers of a packed step are computed on a CPU: in whichever of three ways is quickest there.

A step multiplies each weight with a few rows. Libraries are made for many rows, or for one: on some processors
`torch.nn.functional.linear` needs three times as long for four rows as for one, where the same product turned around,
or computed from 16-bit weights widened a strip at a time, costs what reading the weights costs. Which way is quickest
depends on the processor, the number format and the number of rows, so it is measured once on the model's own weights
(bench/results/product.md). All are the same sum in another order. Costs no memory but a strip of float32.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glassformer.model.attention import is_packing

log = logging.getLogger(__name__)

Product = Callable[[Tensor, Tensor], Tensor]
"""Of rows [row, d_in] and a weight [d_out, d_in]: [row, d_out]."""

# Numbers of rows that are tried; one between two of them is computed like the smaller. More are left to the library.
TRIED_ROWS = (1, 2, 4, 8, 16, 32)
MOST_ROWS = 64
# Output features that are widened at a time: large enough to keep both cores busy, small enough for their caches.
STRIP = 1024
# Models whose weights are smaller gain nothing worth measuring.
FEWEST_BYTES = 2**22
# Weights that are tried together, so that they do not all lie in the processor's cache, and repetitions.
TRIED_WEIGHTS, REPETITIONS = 8, 4
# A way other than the library's own must be this much quicker.
WORTH = 0.95


def multiply_plainly(rows: Tensor, weight: Tensor) -> Tensor:
    """As the library does it."""
    return functional.linear(rows, weight)


def multiply_turned(rows: Tensor, weight: Tensor) -> Tensor:
    """The weight times the rows as columns. A single row goes twice, to be a matrix and not a vector."""
    if len(rows) == 1:
        return torch.mm(weight, rows.repeat(2, 1).t())[:, :1].t()
    return torch.mm(weight, rows.t()).t()


def multiply_widened(rows: Tensor, weight: Tensor) -> Tensor:
    """Turned, with a strip of the weight widened to float32 at a time; for processors that have no 16-bit products."""
    columns = rows.float().t()
    product = torch.empty(len(weight), len(rows))
    strip = torch.empty(min(STRIP, len(weight)), weight.shape[1])
    for start in range(0, len(weight), STRIP):
        stop = min(start + STRIP, len(weight))
        wide = strip[: stop - start]
        wide.copy_(weight[start:stop])
        torch.mm(wide, columns, out=product[start:stop])
    return product.t().to(weight.dtype)


def install_products(model: nn.Module) -> dict[int, str]:
    """Let the linear layers of `model` be computed in the quickest way while packing; the ways chosen, by rows.

    Does nothing, and gives {}, for models on other devices, tiny ones, and those without plain linear layers.
    """
    linears = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
    ]
    weights = [linear.weight.detach() for linear in linears if linear.weight.is_floating_point()]
    if sum(weight.nbytes for weight in weights) < FEWEST_BYTES or len({w.dtype for w in weights}) != 1:
        return {}
    chosen = choose_products(weights)
    ways = spread(chosen)
    for linear in linears:
        linear.forward = partial(forward, linear, ways)  # type: ignore[method-assign]
    return {least: way.__name__.removeprefix("multiply_") for least, way in chosen.items()}


def forward(linear: nn.Linear, ways: Sequence[Product | None], given: Tensor) -> Tensor:
    """What `nn.Linear` computes, in the way that `ways` has for this number of rows; `given` is [..., d_in]."""
    count = given.shape[:-1].numel()
    way = ways[count] if count < len(ways) and is_packing() else None
    if way is None or given.dtype != linear.weight.dtype:
        return functional.linear(given, linear.weight, linear.bias)
    # A turned product leaves columns side by side, which would make the next one, and fused attention, slow.
    product = way(given.reshape(count, given.shape[-1]).contiguous(), linear.weight).contiguous()
    if linear.bias is not None:
        product += linear.bias
    return product.view(*given.shape[:-1], product.shape[-1])


def spread(chosen: dict[int, Product]) -> list[Product | None]:
    """The way for each number of rows up to MOST_ROWS; None where the library's own is the quickest."""
    ways: list[Product | None] = []
    for count in range(MOST_ROWS + 1):
        way = chosen[max((tried for tried in chosen if tried <= count), default=min(chosen))]
        ways.append(None if way is multiply_plainly else way)
    return ways


@torch.inference_mode()
def choose_products(weights: list[Tensor]) -> dict[int, Product]:
    """For each number of rows tried the quickest way, by trying all on the largest of `weights`."""
    tried = sorted(weights, key=lambda weight: weight.nbytes, reverse=True)[:TRIED_WEIGHTS]
    # The output head of a large vocabulary alone would take a second.
    tried = [weight[: max(1, 2**23 // weight.shape[1])] for weight in tried]
    ways: list[Product] = [multiply_plainly, multiply_turned]
    if tried[0].dtype in (torch.bfloat16, torch.float16):
        ways.append(multiply_widened)
    chosen: dict[int, Product] = {}
    for count in TRIED_ROWS:
        secs = {way: measure(way, count, tried) for way in ways}
        best = min(ways, key=lambda way: secs[way])
        chosen[count] = best if secs[best] < WORTH * secs[multiply_plainly] else multiply_plainly
    return chosen


def measure(way: Product, count: int, weights: list[Tensor]) -> float:
    """Seconds of the quickest of some repetitions."""
    given: dict[int, Any] = {
        width: torch.ones(count, width, dtype=weights[0].dtype)
        for width in {weight.shape[1] for weight in weights}
    }
    best = float("inf")
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        for weight in weights:
            way(given[weight.shape[1]], weight)
        best = min(best, time.perf_counter() - started)
    return best
