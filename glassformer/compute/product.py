"""Ways to multiply a weight with the rows of a packed step on a CPU; all are the same sum in another order.

A step multiplies each weight with a few rows. Libraries are made for many rows, or for one: on some processors
`torch.nn.functional.linear` needs three times as long for four rows as for one, where the same product turned around,
computed from weights of fewer bits widened a strip at a time, or from a copy of the weight in the order of a library's
kernels costs what reading the weights costs. Where a processor has no 16-bit arithmetic, it takes seven times as long
for the many rows of a prompt as the widened weights do. `compute/linear.py` finds out which is quickest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from glassformer.compute.exactness import is_exact
from glassformer.compute.quantize import read_int8

Product = Callable[[Tensor], Tensor]
"""Of rows [row, d_in] with a weight [d_out, d_in] that it knows: [row, d_out]."""
Way = Callable[[Tensor], Product]
"""Makes the product of a weight, of plain numbers or one that `read_int8` can read."""

# For which oneDNN lays a copy out; it serves other numbers as well.
TYPICAL_ROWS = 16
# Output features that are widened at a time: large enough to keep both cores busy, small enough for their caches.
STRIP = 1024
# Largest magnitudes are brought to between 2^14 and 2^15 for half precision, by factors that float32 holds.
HALF_EXPONENT, LARGEST_SCALE = 15, 100
# Half of the least step of half precision: the error of what is too small for its smallest numbers.
HALF_ERROR = 2.0**-25
# FBGEMM's copies have multiples of so many input and output features (FbgemmPackMatrixB.h), counted in 32 bits.
NARROW_ROWS, NARROW_COLUMNS, MOST_NARROWED = 512, 32, 2**31 - 1
# Input features that PyTorch's kernel for int8 weights takes at a time on some processors (ATen, int8mm_kernel.cpp).
INT8_COLUMNS = 16


def plainly(weight: Tensor) -> Product:
    """As the library does it."""
    return lambda rows: functional.linear(rows, weight)  # torchao does not know the weight by name


def turned(weight: Tensor) -> Product:
    """The weight times the rows as columns."""
    return partial(multiply_turned, weight=weight)


def multiply_turned(rows: Tensor, weight: Tensor) -> Tensor:
    if len(rows) == 1:  # twice, to be a matrix and not a vector
        return torch.mm(weight, rows.repeat(2, 1).t())[:, :1].t()
    return torch.mm(weight, rows.t()).t()


def widened(weight: Tensor) -> Product:
    """Turned, with a strip of the weight widened to float32 at a time.

    For int8 weights, and for those of 16 bits on processors without such products.
    """
    numbers, scales = read_int8(weight) or (weight, None)
    return partial(multiply_widened, weight=numbers, scales=None if scales is None else scales[:, None])


def multiply_widened(rows: Tensor, weight: Tensor, scales: Tensor | None) -> Tensor:
    columns = rows.float().t()
    product = rows.new_empty(len(rows), len(weight))
    strip = torch.empty(min(STRIP, len(weight)), weight.shape[1])
    for start in range(0, len(weight), STRIP):
        stop = min(start + STRIP, len(weight))
        wide = strip[: stop - start]
        wide.copy_(weight[start:stop])
        found = torch.mm(wide, columns)
        if scales is not None:
            found *= scales[start:stop]
        product[:, start:stop] = found.t()
    return product


def scaled(weight: Tensor) -> Product:
    """Rows of bfloat16 times an int8 weight as it is: summed in float32, rounded, then scaled.

    The kernel takes `INT8_COLUMNS` input features at a time and has no code for a rest. Raises ValueError for others.
    """
    found = read_int8(weight)
    if found is None or weight.dtype != torch.bfloat16 or weight.shape[1] % INT8_COLUMNS:
        raise ValueError("the weight is not one of int8 for bfloat16, or has input features that do not fit")
    numbers, scales = found
    # Given the scales, the kernel would have them rounded as well.
    ones = torch.ones(len(scales), dtype=weight.dtype)
    multiply = torch.ops.aten._weight_int8pack_mm.default
    return lambda rows: (multiply(rows, numbers, ones) * scales).to(rows.dtype)


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


def narrowed(weight: Tensor) -> Product:
    """A copy in half precision that FBGEMM multiplies with float32 rows, summing in float32 (PyTorch documentation,
    "Quantization": float16 dynamic).

    For weights that half precision holds once they are scaled: all that were stored in 16 bits, in whatever format
    they are now. Half as many bytes are read as of float32. Raises RuntimeError where there are no such kernels.
    """
    scale = find_scale(weight)
    wide = weight.to(torch.float32, copy=True, memory_format=torch.contiguous_format).mul_(scale)
    copy = torch.ops.quantized.linear_prepack_fp16(wide, None)
    return partial(multiply_narrowed, copy=copy, unscale=1 / scale)


def multiply_narrowed(rows: Tensor, copy: Any, unscale: float) -> Tensor:
    # The rows, not the product: half of that lies in another core's cache.
    product: Tensor = torch.ops.quantized.linear_dynamic_fp16.default(rows.float() * unscale, copy)
    return product.to(rows.dtype)


@cache
def has_narrow_kernel() -> bool:
    """Whether FBGEMM can multiply weights in half precision on this processor, and sums in float32."""
    weight = torch.randn(16, 1024, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    try:
        return is_exact(narrowed(weight), weight, 2)
    except (RuntimeError, AttributeError):
        return False


def count_narrowed(weight: Tensor) -> int:
    """Numbers in FBGEMM's copy of a weight, which fills up with zeros."""
    d_out, d_in = weight.shape
    return math.ceil(d_in / NARROW_ROWS) * NARROW_ROWS * math.ceil(d_out / NARROW_COLUMNS) * NARROW_COLUMNS


def find_scale(weight: Tensor) -> float:
    """The power of two that brings the largest magnitude of a weight up to half precision's."""
    least, largest = torch.aminmax(weight)
    _, exponent = math.frexp(max(-float(least), float(largest)))
    return 2.0 ** max(-LARGEST_SCALE, min(HALF_EXPONENT - exponent, LARGEST_SCALE))


def fits_half(weight: Tensor) -> bool:
    """Whether half precision holds a scaled weight but for 2^-39 of its largest value; float32 sums round at 2^-24."""
    scale = find_scale(weight)
    for strip in weight.split(STRIP):
        large = strip.float() * scale
        if not float((large - large.half().float()).abs().max()) <= HALF_ERROR:  # not a number is no fit
            return False
    return True


def copy_in_16_bits(weight: Tensor) -> Tensor | None:
    """A copy of a float32 weight [d_out, d_in] in a 16-bit format that holds its numbers; None where none does."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(weight[:1].to(dtype).float(), weight[:1]):  # says it of most
            copy = weight.to(dtype, memory_format=torch.contiguous_format)
            strips = zip(copy.split(STRIP), weight.split(STRIP), strict=True)
            if all(torch.equal(short.float(), strip) for short, strip in strips):
                return copy
    return None


def list_ways(weights: Sequence[Tensor], *, spare_bytes: int) -> list[Way]:
    """What can be tried for such weights on this processor, with copies where `spare_bytes` hold all of them.

    Of int8 weights, which somebody wanted small, no copies are made.
    """
    if read_int8(weights[0]) is not None:
        fits = weights[0].dtype == torch.bfloat16 and not any(one.shape[1] % INT8_COLUMNS for one in weights)
        return [plainly, widened, scaled] if fits else [plainly, widened]
    ways: list[Way] = [plainly, turned]
    if weights[0].dtype in (torch.bfloat16, torch.float16):
        ways.append(widened)
    size = count_copied(narrowed, weights)
    fits = size <= spare_bytes and max(map(count_narrowed, weights)) <= MOST_NARROWED and has_narrow_kernel()
    if fits and all(fits_half(weight) for weight in weights):
        ways.append(narrowed)
        spare_bytes -= size
    if count_copied(reordered, weights) <= spare_bytes and has_kernel(torch.float32):
        ways.append(reordered)
    return ways


def count_copied(way: Way, weights: Sequence[Tensor]) -> int:
    """Bytes that a way's copies of `weights` take."""
    numbers = sum(weight.numel() for weight in weights)
    if way is narrowed:
        return sum(map(count_narrowed, weights)) * torch.float16.itemsize
    if way is reordered:
        dtype = weights[0].dtype
        return numbers * (dtype if has_kernel(dtype) else torch.float32).itemsize
    return 0
