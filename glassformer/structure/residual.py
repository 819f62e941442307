"""The residual stream of a running forward, handed to whoever listens in the thread that runs it.

Hooks are there only while someone listens, and shared by all listeners of a packed forward.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from glassformer.compute.hooking import hook_input, hook_output
from glassformer.errors import ModelFailed

# Given the number of a block, and what it and those after it read, [block, row, d_model]; what the last block gave
# counts as read by one more.
Take = Callable[[int, Tensor], None]

# Rows up to which listeners are told of all blocks at once: for many short texts each call costs more than its bytes.
FEW_ROWS = 64


class ResidualTap:
    """Listeners to what each of `blocks` reads and what the last of them leaves."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        self._blocks = blocks
        self._local = threading.local()

    @contextmanager
    def listening(self, take: Take) -> Iterator[None]:
        """Call `take` with what the blocks read in every forward that this thread runs inside.

        Raises ModelFailed there where a block is given other rows than the first: whose they are nobody could tell.
        """
        listeners: list[Take] = self._local.__dict__.setdefault("listeners", [])
        handles = [] if listeners else self._hook(listeners)
        listeners.append(take)
        try:
            yield
        finally:
            listeners.remove(take)
            for handle in handles:
                handle.remove()

    def _hook(self, listeners: list[Take]) -> list[RemovableHandle]:
        gathered: list[Tensor] = []
        given: list[torch.Size] = []

        def tell(block: int, hidden: Tensor) -> None:
            first, seen = block, hidden.detach()
            if block == 0:
                given[:] = [seen.shape]
            if [seen.shape] != given or seen.shape[0] != 1:
                raise ModelFailed(
                    f"Block {block} was given other rows than the first: it cannot be recorded."
                )
            if seen.shape[1] <= FEW_ROWS:
                if block == 0:  # float32: some models go on in a wider format than they begin with
                    gathered[:] = [
                        seen.new_empty(len(self._blocks) + 1, *seen.shape[1:], dtype=torch.float32)
                    ]
                gathered[0][block].copy_(seen[0])
                if block < len(self._blocks):
                    return
                first, seen = 0, gathered.pop()
            for take in listeners:
                take(first, seen)

        def tell_input(block: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tell(block, args[0] if args else first_tensor(kwargs))

        def tell_output(_: Any, args: tuple[Any, ...], output: Any) -> None:
            tell(len(self._blocks), output[0] if isinstance(output, (tuple, list)) else output)

        handles = [hook_input(block, partial(tell_input, index)) for index, block in enumerate(self._blocks)]
        return [*handles, hook_output(self._blocks[-1], tell_output)]


def first_tensor(kwargs: dict[str, Any]) -> Tensor:
    """The module's main input where it is passed by name: `hidden_states`, else the first tensor."""
    if isinstance(kwargs.get("hidden_states"), Tensor):
        return kwargs["hidden_states"]  # type: ignore[no-any-return]
    return next(value for value in kwargs.values() if isinstance(value, Tensor))
