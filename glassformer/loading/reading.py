"""Reading a model's weights with transformers: one at a time, and how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import transformers

# transformers patches global functions while it builds a model (no initialisation, no tying, default number
# format): two at a time spoil each other, and tied weights are then reported missing.
BUILDING = threading.Lock()


# What transformers calls putting weights in place, and we what goes before where they have to be computed.
PLACING, UNPACKING = "Loading weights", "Unpacking weights"


@contextmanager
def listen_to_reading(on_fraction: Callable[[float], None] | None) -> Iterator[None]:
    """Tell `on_fraction` the share of weights that transformers has put in place. For the holder of `BUILDING`."""

    seen: set[str] = set()

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        work = str(kwargs.get("desc"))
        # What was unpacked before only finds its place, at once.
        if on_fraction is None or work not in (PLACING, UNPACKING) or UNPACKING in seen:
            return factory(*args, **kwargs)
        seen.add(work)
        return count_through(args[0], on_fraction)

    before = transformers.utils.logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        transformers.utils.logging.set_tqdm_hook(before)


def count_through(items: Collection[Any], on_fraction: Callable[[float], None]) -> Iterator[Any]:
    """`items` one by one, telling the share that is done whenever it has grown by a percent."""
    told = 0
    for done, item in enumerate(items, start=1):
        yield item
        if done * 100 // len(items) > told:
            told = done * 100 // len(items)
            on_fraction(done / len(items))
