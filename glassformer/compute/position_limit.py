"""Where in a long text a config says that something changes: a window's end, a chunk's, a length it was first made for.

A check's prompt is short: whoever tries what a model computes also tries it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

# A `span` bounds what a query sees, from a `place` on something else is computed. What `other` is, its name does not
# tell: it may be a chunk of a scan, or of a kernel.
Kind = Literal["span", "place", "other"]
OTHER_WORDS = ("window", "chunk", "original", "local", "block_size")
# Numbers with such names count something else than positions.
COUNTING_WORDS = ("layer", "pattern", "expert")


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of positions that a config names under `name`."""

    name: str
    position: int
    kind: Kind


def list_limits(config: Any, context: int) -> list[Limit]:
    """Each number of positions inside `context` that a config names so, once."""
    found: dict[tuple[int, Kind], Limit] = {}
    for name, value in walk(config.get_text_config(decoder=True).to_dict()):
        kind = find_kind(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is not None and is_number and 1 < value < context:
            found.setdefault((int(value), kind), Limit(name, int(value), kind))
    return list(found.values())


def find_kind(name: str) -> Kind | None:
    """What a number of that name limits; None where it is not known to be one of positions."""
    if any(word in name for word in COUNTING_WORDS):
        return None
    if "window" in name or ("chunk" in name and "attention" in name):
        return "span"
    if "original_max" in name or "floor" in name:
        return "place"
    return "other" if any(word in name for word in OTHER_WORDS) else None


def walk(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of a config by its own name, those of dicts inside it too."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from walk(value)
        else:
            yield str(name), value
