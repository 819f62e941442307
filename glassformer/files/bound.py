"""How large a config may say a model is before anything is made of it: what is past it is refused by the field's name.

Without weights a model takes little memory, but each block and each module of it takes some time.
Knows JSON alone, no torch. The limits are several times what the largest published models have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glassformer.errors import ModelRefused

# A config is a few kilobytes; one with a list for each block is tens.
LARGEST_CONFIG_BYTES = 2**20
# Fields by a word of their names, the first that fits, and the most that may stand there.
LIMITS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"(^|_)layers?$|^num_blocks$|_layers_|^num_layers"), 512),
    (re.compile(r"vocab"), 2**24),
    (re.compile(r"position|n_ctx|seq_len|sequence_length|context|window|seq_length"), 2**27),
    (re.compile(r"expert"), 2**16),
    (re.compile(r"heads?$|^num_heads|n_groups|num_.*(groups|blocks)$"), 2**13),
    (re.compile(r"size|dim|embd|inner|width|d_model|rank|state|channels|^n_|^num_"), 2**20),
)
# Configs of a part inside those of a whole; more levels are nobody's config.
DEEPEST = 8


def check_size(path: Path) -> None:
    """Raise ModelRefused for a config file that is too large to be one."""
    if path.is_file() and path.stat().st_size > LARGEST_CONFIG_BYTES:
        raise ModelRefused("The config is larger than 1 MiB, so it is not drawn.")


def check_numbers(raw: dict[str, Any]) -> None:
    """Raise ModelRefused where a config states a size that no model has, naming the field."""
    for name, value in list_numbers(raw, depth=0):
        limit = next((limit for pattern, limit in LIMITS if pattern.search(name)), None)
        if limit is not None and value > limit:
            raise ModelRefused(f"{name} is {value}; a model is read up to {limit}.", field=name)


def list_numbers(value: dict[str, Any], depth: int) -> Iterator[tuple[str, int]]:
    """The whole numbers in a config by the names of their fields, those in lists and nested objects too."""
    if depth > DEEPEST:
        raise ModelRefused("The config is nested more deeply than a config is.")
    for name, item in value.items():
        if isinstance(item, dict):
            yield from list_numbers(item, depth + 1)
            continue
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, int | float) and not isinstance(one, bool):
                # Infinite and no number at all are past any limit.
                yield name[:80], int(one) if -(2**63) < one < 2**63 else 2**63
            elif isinstance(one, dict):
                yield from list_numbers(one, depth + 1)
