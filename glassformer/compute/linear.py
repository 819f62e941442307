"""The linear layers of a packed step on a CPU: each computed in whichever exact way is quickest there.

Which of the ways in `compute/product.py` that is depends on the processor, on what the weights are kept in (plain
numbers, or torchao's int8), and on the number of rows, so it is measured once on the model's own weights
(bench/results/product.md). So is how exact a way is: one that errs by more than sums in another order can is not used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from glassformer.compute.computing import computing
from glassformer.compute.exactness import is_exact
from glassformer.compute.packed_row import is_packing
from glassformer.compute.product import Product, Way, copy_in_16_bits, count_copied, list_ways, plainly
from glassformer.compute.quantize import count_bytes, name_format, read_int8

log = logging.getLogger(__name__)

# Numbers of rows that are tried; one between two of them, or beyond the last, is computed like the smaller.
TRIED_ROWS = (1, 2, 3, 4, 6, 8, 16, 32, 128)
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

# Models that have shortcuts now. Asked for in each step, which is no time to look through all modules.
_quickened: WeakSet[nn.Module] = WeakSet()
# Models whose linear layers are those of another, and that one.
_lent: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def install_products(
    model: nn.Module, *, spare_bytes: int = 0, pause: Callable[[], None] = lambda: None
) -> tuple[dict[str, dict[int, str]], int]:
    """Let the linear layers of `model` be computed in the quickest way while packing.

    The model may be run meanwhile; `pause` is called between pieces of the work, and may raise to end it.

    Copies of weights may take `spare_bytes`. Returns the ways chosen by number format and number of rows, and the bytes
    taken. Leaves models on other devices alone, formats with few weights, and layers that do more than multiply.
    """
    named: dict[str, dict[int, str]] = {}
    taken = 0
    shortcuts: list[tuple[nn.Linear | Conv1D, Shortcut]] = []
    for kept_in, linears in group_linears(model).items():
        pause()
        weights = [read_weight(linear) for linear in linears]
        if sum(map(count_bytes, weights)) < FEWEST_BYTES:
            continue
        with computing(1, "products"):
            chosen = choose_ways(weights, list_ways(weights, spare_bytes=spare_bytes - taken))
        for linear, weight in zip(linears, weights, strict=True):
            pause()
            with computing(1, "products"):
                shortcuts.append((linear, Shortcut(weight, linear.bias, spread(chosen, weight))))
        taken += sum(count_copied(way, weights) for way in set(chosen.values()))
        named[kept_in] = {count: way.__name__ for count, way in chosen.items()}
    put_in(model, shortcuts)
    return named, taken


def put_in(model: nn.Module, shortcuts: Sequence[tuple[nn.Linear | Conv1D, Shortcut]]) -> None:
    """Have linear layers of `model` computed by their shortcuts from now on."""
    for linear, shortcut in shortcuts:
        linear.forward = shortcut.compute  # type: ignore[method-assign]
    if shortcuts:
        _quickened.add(model)


def is_quickened(model: nn.Module) -> bool:
    """Whether a model's packed steps multiply otherwise than its own code, which can change last digits."""
    return _lent.get(model, model) in _quickened


def share_products(model: nn.Module, owner: nn.Module) -> None:
    """Note that `model` computes with the linear layers of `owner`, and so with the shortcuts that these have."""
    _lent[model] = owner


def group_linears(model: nn.Module) -> dict[str, list[nn.Linear | Conv1D]]:
    """The linear layers of `model` whose products can be computed in other ways, by what their weights are kept in.

    As `float32`, or `int8 for bfloat16`.
    """
    groups: dict[str, list[nn.Linear | Conv1D]] = {}
    for module in model.modules():
        if is_plain_linear(module):
            groups.setdefault(name_format(module.weight), []).append(module)
        elif is_int8_linear(module):
            computed_in = str(module.weight.dtype).removeprefix("torch.")
            groups.setdefault(f"int8 for {computed_in}", []).append(module)
    return groups


def remove_products(model: nn.Module) -> None:
    """Give the linear layers of `model` their own code back, and the memory of the copies."""
    for linear in list_shortened(model).values():
        del linear.forward
    _quickened.discard(model)


def list_shortened(module: nn.Module) -> dict[str, nn.Linear | Conv1D]:
    """The linear layers of `module` that are computed in other ways than their own, by name."""
    return {
        name: linear
        for name, linear in module.named_modules()
        if isinstance(getattr(vars(linear).get("forward"), "__self__", None), Shortcut)
    }


@contextmanager
def own_products(module: nn.Module) -> Iterator[None]:
    """Let the linear layers of `module` be computed by their own code inside."""
    linears = list_shortened(_lent.get(module, module)).values()
    forwards = [vars(linear).pop("forward") for linear in linears]
    try:
        yield
    finally:
        for linear, forward in zip(linears, forwards, strict=True):
            linear.forward = forward  # type: ignore[method-assign]


def is_plain_linear(module: nn.Module) -> TypeGuard[nn.Linear | Conv1D]:
    """Whether a module multiplies with one floating point weight of its own on a CPU, and does nothing else."""
    return (
        type(module) in (nn.Linear, Conv1D)
        and type(module.weight) is nn.Parameter
        and module.weight.device.type == "cpu"
        and module.weight.is_floating_point()
        and module.weight.numel() > 0
    )


def is_int8_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module multiplies with one weight on a CPU that is kept in int8, and does nothing else."""
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and "forward" not in vars(module)
        and read_int8(module.weight) is not None
    )


def read_weight(linear: nn.Linear | Conv1D) -> Tensor:
    """The weight [d_out, d_in] of a linear layer; GPT-2's `Conv1D` keeps it the other way around."""
    weight = linear.weight.detach()
    return weight.t() if isinstance(linear, Conv1D) else weight


def copy_for_sums(linear: nn.Linear | Conv1D) -> Tensor | None:
    """A copy of a linear layer's weight, of the same shape, that is read quicker a feature at a time.

    In 16 bits where they hold a float32 one, and with each output feature's numbers side by side. None where the weight
    is both already, or not of plain numbers.
    """
    if not is_plain_linear(linear):
        return None
    weight = read_weight(linear)
    copy = copy_in_16_bits(weight) if weight.dtype == torch.float32 else None
    if copy is None and weight.is_contiguous():
        return None
    copy = weight.contiguous() if copy is None else copy
    return copy.t() if isinstance(linear, Conv1D) else copy


class Shortcut:
    """What a linear layer computes, by the product for the number of rows; called some hundred times a step."""

    __slots__ = ("bias", "products", "weight")

    def __init__(self, weight: Tensor, bias: Tensor | None, products: Sequence[Product | None]) -> None:
        self.weight, self.bias, self.products = weight, bias, products

    def compute(self, given: Tensor) -> Tensor:
        """`given` is [..., d_in]."""
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


def choose_ways(weights: list[Tensor], ways: Sequence[Way]) -> dict[int, Way]:
    """For each number of rows tried the quickest exact one of `ways`, by trying all on the largest of `weights`."""
    tried = sorted(weights, key=count_bytes, reverse=True)[:TRIED_WEIGHTS]
    # The output head of a large vocabulary alone would take a second. Not in inference mode, where torchao's weights
    # cannot be cut.
    tried = [weight[: max(1, 2**23 // weight.shape[1])] for weight in tried]
    made = {way: [way(weight) for weight in tried] for way in ways}
    chosen: dict[int, Way] = {}
    for count in TRIED_ROWS:
        secs = measure(made, count, tried if count < MANY_ROWS else tried[:1])
        worth = [way for way in sorted(secs, key=lambda way: secs[way]) if secs[way] < WORTH * secs[plainly]]
        chosen[count] = next((way for way in worth if are_exact(made[way], tried, count)), plainly)
    return chosen


@torch.inference_mode()
def are_exact(products: Sequence[Product], weights: Sequence[Tensor], count: int) -> bool:
    """Whether a way's products with `weights` are exact for `count` rows, tried on one weight of each shape."""
    shapes = {weight.shape: index for index, weight in reversed(list(enumerate(weights)))}
    for index in shapes.values():
        weight = weights[index]
        if not is_exact(products[index], read_numbers(weight), count, dtype=weight.dtype):
            log.info("a quick product of %s rows is not used: it is not exact on this processor", count)
            return False
    return True


def read_numbers(weight: Tensor) -> Tensor:
    """The numbers that a weight stands for, not rounded to the format in which it is computed with."""
    found = read_int8(weight)
    return weight if found is None else found[0] * found[1].double()[:, None]


@torch.inference_mode()
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
