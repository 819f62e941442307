"""Some blocks of a model, as a query names them."""

from __future__ import annotations

import re

from glassformer.errors import BadValue

RANGE = r"([0-9]{1,5})(?:-([0-9]{1,5}))?"


def parse_blocks(text: str, count: int, *, besides: str = "") -> range:
    """The blocks that `7`, or first and last as `20-29`, names, of a model with `count` of them.

    Raises BadValue; `besides` says what else may stand there.
    """
    found = re.fullmatch(RANGE, text)
    if found is None:
        raise BadValue(
            f"blocks is {besides}one block as 7, or first and last as 20-29, and not {text[:40]!r}.",
            field="blocks",
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < count:
        raise BadValue(f"blocks must be within 0 to {count - 1}, first before last.", field="blocks")
    return range(first, last + 1)
