"""Linear layers whose weights a library keeps in fewer bits: they compute what those weights, as they are shown, give.

Some kernels round rows, scales and results once more, or rearrange the stored numbers when they are first used so that
nobody can read them any more. What is shown would then not be what computes. So each kind and shape of layer is held,
once while loading, to the product with its weight as `read_whole` gives it, and one that differs by more than rounding
in the model's own format is computed by exactly that product: slower, and true.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glassformer.compute.exactness import is_exact, unit_roundoff
from glassformer.compute.quantize import find_whole_shape, is_quantised, name_format, read_whole

log = logging.getLogger(__name__)

# Numbers of rows that are tried: kernels differ for one, a few and many.
TRIED_ROWS = (1, 3, 32)


def hold_to_weights(model: nn.Module, dtype: torch.dtype) -> list[str]:
    """Let every quantised linear layer of `model` compute what its weight as it is shown gives for rows of `dtype`.

    Returns the names of those that the library computes otherwise, whose own code is not used. Raises ModelRefused
    where a weight cannot be read back.
    """
    replaced: list[str] = []
    known: dict[object, bool] = {}
    for name, layer in list_quantised(model):
        keep_readable(layer)
        kind = (type(layer), name_format(layer.weight), find_whole_shape(layer.weight), layer.weight.device)
        if kind not in known:
            known[kind] = computes_its_weight(layer, dtype)
        if not known[kind]:
            layer.forward = FromWhole(layer).compute
            replaced.append(name)
    if replaced:
        log.info(
            "%s quantised layers are computed from their weights as shown: their kernel differs",
            len(replaced),
        )
    return replaced


def list_quantised(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The linear layers whose weight holds fewer bits than it computes with, by name."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and is_quantised(module.weight):
            yield name, module


def keep_readable(layer: Any) -> None:
    """Keep bitsandbytes from rearranging a weight in place at its first product on some processors.

    It would round the scales as well, and fail for widths that do not fit its kernel.
    """
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        layer.support_avx512bf16_for_cpu = False


@torch.inference_mode()
def computes_its_weight(layer: Any, dtype: torch.dtype) -> bool:
    """Whether a layer's own code gives, but for rounding, its rows times its weight as it is read back."""
    whole, bias = read_whole(layer.weight), layer.bias
    # The weight as shown may have been rounded to its format once more than the one in the kernel.
    error = unit_roundoff(whole.dtype)

    try:
        layer.bias = None
        return all(
            is_exact(lambda rows: layer(rows[None])[0], whole, count, dtype=dtype, weight_error=error)
            for count in TRIED_ROWS
        )
    except Exception as exc:
        log.debug("a quantised product fails", exc_info=exc)
        return False
    finally:
        layer.bias = bias


class FromWhole:
    """What stands in a layer's `forward`: its weight made whole for each product, and forgotten after it."""

    __slots__ = ("layer",)

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def compute(self, given: Tensor) -> Tensor:
        """`given` is [..., d_in]."""
        weight, bias = read_whole(self.layer.weight).to(given.dtype), self.layer.bias
        return functional.linear(
            given.to(weight.device), weight, None if bias is None else bias.to(given.dtype)
        )
