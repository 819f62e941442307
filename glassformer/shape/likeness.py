"""Which blocks of a model are alike: the same modules with the same sizes and the same settings but for their number.

Found by looking at the modules, never by reading a config's pattern: whatever alternates (windows, experts, states)
shows in what was built.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from torch import nn

from glassformer.structure.structure import Structure

# How modules call the number of their block; it differs between blocks that are alike.
NUMBER = re.compile(r"(^|_)(layer|block|idx|index|number|depth)(_?(idx|id|index|number|num|depth))?$")


def group_blocks(structure: Structure) -> list[list[int]]:
    """The numbers of the blocks that are alike, in order of the first of each group."""
    groups: dict[Hashable, list[int]] = {}
    owned: set[int] = set()
    for index, block in enumerate(structure.blocks):
        sign = (sign_module(block, owned), structure.window(index), structure.is_chunked(index))
        groups.setdefault(sign, []).append(index)
        owned.update(id(parameter) for parameter in block.parameters())
    return list(groups.values())


def sign_module(block: nn.Module, owned: set[int]) -> Hashable:
    """What two blocks have in common that are alike. Floats are left out: they scale, and change no size.

    `owned` are the parameters of earlier blocks, by id: a block that shares some is not like one that has its own.
    """
    return tuple(
        (
            name,
            type(module).__qualname__,
            tuple(
                (key, tuple(value.shape), id(value) in owned)
                for key, value in module.named_parameters(recurse=False)
            ),
            tuple((key, tuple(value.shape)) for key, value in module.named_buffers(recurse=False)),
            tuple(sorted((key, value) for key, value in vars(module).items() if is_setting(key, value))),
        )
        for name, module in block.named_modules()
    )


def is_setting(name: str, value: Any) -> bool:
    return not name.startswith("_") and isinstance(value, bool | int | str) and not NUMBER.search(name)
