"""Values of a config, which may differ from block to block: as a list, or as configs of the blocks' own."""

from __future__ import annotations

from typing import Any


def read_field(config: Any, name: str) -> Any:
    """A value of `config`, or None; where blocks differ in it, the largest of theirs."""
    try:
        value = getattr(config, name, None)
    except RuntimeError:
        # transformers' own error where blocks have configs of their own: there is no value of the whole.
        value = [getattr(block, name, None) for block in config.per_layer_config]
    if isinstance(value, list | tuple):
        numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool)]
        return max(numbers, default=None) if len(numbers) == len(value) else None
    return value


def first_number(config: Any, names: tuple[str, ...]) -> int | None:
    """The first of `names` that the config gives as a number above zero."""
    for name in names:
        value = read_field(config, name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
