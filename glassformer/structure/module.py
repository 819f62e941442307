"""Small questions about one module, or one value of a config, that no architecture's name answers."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from glassformer.compute.quantize import find_whole_shape

# Config values that scale something; others are probabilities, sizes and constants of training.
SCALING_WORDS = ("scal", "multiplier", "alpha", "beta", "factor", "temperature", "mup", "depth")


def find_linear(holder: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    """The first child of that name with a two-dimensional weight; inside a container (Jais, Moshi) one level down."""
    for name in names:
        module = getattr(holder, name, None)
        if isinstance(module, nn.Module) and not isinstance(getattr(module, "weight", None), Tensor):
            module = getattr(module, "linear", None)
        weight = getattr(module, "weight", None)
        if (
            isinstance(module, nn.Module)
            and isinstance(weight, Tensor)
            and len(find_whole_shape(weight)) == 2
        ):
            return module
    return None


def takes_choice(module: nn.Module) -> bool:
    """Whether a module is handed, for each position, the experts that were chosen and their weights."""
    if "Expert" not in type(module).__name__:
        return False
    names = list(inspect.signature(module.forward).parameters)
    return len(names) == 3 and "ind" in names[1] and "weight" in names[2]


def count_experts(experts: nn.Module) -> int | None:
    """How many experts such a module has, as it says itself; None where it does not."""
    return int(getattr(experts, "num_experts", 0) or 0) or None


def is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not any(module.children())


def measure_window(mask: Tensor) -> int | None:
    """How wide a stored causal mask [..., query, key] leaves its last row; None where that is all, or it is no mask.

    None too where only the mask's size is there, on `meta`.
    """
    if (
        mask.is_meta
        or mask.dtype not in (torch.bool, torch.uint8)
        or mask.dim() < 2
        or mask.shape[-1] != mask.shape[-2]
    ):
        return None
    rows = mask.reshape(-1, *mask.shape[-2:])[0]
    width = int(rows[-1].sum())
    is_causal = bool(rows[0, 0]) and int(rows[0].sum()) == 1
    return width if is_causal and width < len(rows) else None


def is_scaling(name: str) -> bool:
    return any(word in name for word in SCALING_WORDS) and not name.startswith("rope")


def list_numbers(value: Any) -> list[float]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return [
        float(v)
        for v in items
        if isinstance(v, (int, float)) and not isinstance(v, bool) and v != 0 and abs(v) < 1e5
    ]


def first_sentence(exc: Exception) -> str:
    text = str(exc).split("\n")[0]
    return text.split(". ")[0].rstrip(".")
