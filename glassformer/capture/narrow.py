"""Running what works on each position alone for one position only, while everything before it runs for all of them.

Of a block whose keys and values are wanted, most of the work is its MLP and its output projection, which only the rows
that are looked at need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from glassformer.compute.hooking import hook_input, hook_output


@contextmanager
def narrowed(modules: Iterable[nn.Module], row: int, count: int) -> Iterator[None]:
    """Have each of `modules` run for row `row` of `count` alone; the rows of the others come out of it as zeros.

    Only for modules that work on each row by itself. Hooks that are registered later see the one row that goes in, and
    all rows that come out. A module that is not given [1, count, feature] runs as it is.
    """
    with ExitStack() as stack:
        for module in modules:
            before, after = _Narrow(row, count).hooks
            stack.callback(hook_input(module, before).remove)
            stack.callback(hook_output(module, after).remove)
        yield


class _Narrow:
    """The hooks of one module."""

    def __init__(self, row: int, count: int) -> None:
        self._row, self._count = row, count
        self._cuts = False
        self.hooks = self._cut, self._spread

    def _is_whole(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dim() == 3 and value.shape[:2] == (1, self._count)

    def _cut(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [*args, *kwargs.values()]
        self._cuts = self._count > 1 and bool(given) and self._is_whole(given[0])
        return (self._take(args), {name: self._take((value,))[0] for name, value in kwargs.items()})

    def _take(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._cuts:
            return values
        one = slice(self._row, self._row + 1)
        return tuple(value[:, one] if self._is_whole(value) else value for value in values)

    def _spread(self, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self._cuts:
            return output
        if isinstance(output, (tuple, list)):
            return type(output)((self._pad(output[0]), *output[1:]))
        return self._pad(output)

    def _pad(self, value: Tensor) -> Tensor:
        whole = value.new_zeros(1, self._count, value.shape[-1])
        whole[0, self._row] = value.reshape(-1)
        return whole
