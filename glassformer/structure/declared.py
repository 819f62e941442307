"""Numbers that a model's config and modules declare, and that its equations may be made with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from glassformer.structure.module import is_scaling, list_numbers

CHOICE_NAMES = (
    "top_k",
    "num_experts_per_tok",
    "moe_topk",
    "moe_k",
    "num_experts_per_token",
    "top_k_experts",
)


def list_scalars(config: Any, known: Iterable[float], holders: Iterable[Any]) -> list[float]:
    """What a config, its modules `holders` and `known` may multiply by: each number, its inverse and its root."""
    found = [v for name, value in vars(config).items() if is_scaling(name) for v in list_numbers(value)]
    found += list(known)
    for holder in holders:
        if isinstance(holder, nn.Module):
            found += [
                v for value in vars(holder).values() if isinstance(value, float) for v in list_numbers(value)
            ]
    every = [g for f in found for g in (f, 1.0 / f, abs(f) ** 0.5)]
    return list(dict.fromkeys(g for g in every if abs(g - 1.0) > 1e-6 and 1e-4 < abs(g) < 1e5))


def list_caps(config: Any) -> list[float]:
    """Soft caps that a config declares."""
    return [v for name, value in vars(config).items() if "cap" in name for v in list_numbers(value) if v > 0]


def list_choice_counts(holders: Iterable[Any]) -> list[int]:
    """How many experts a position may choose, as a config and modules declare it."""
    values = [getattr(holder, name, None) for holder in holders for name in CHOICE_NAMES]
    return list(dict.fromkeys(v for v in values if isinstance(v, int) and v > 0))


def is_chunked(config: Any, block: int) -> bool:
    """Whether a block's queries see their own chunk of positions alone, as the config says."""
    kinds = getattr(config, "layer_types", None) or ()
    return block < len(kinds) and "chunk" in kinds[block]
