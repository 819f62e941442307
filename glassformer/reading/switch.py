"""Switching parts off in some rows of a block while it runs: what a part writes becomes zero, or a mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glassformer.capture.capture import locate
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.errors import ModelFailed
from glassformer.reading.expert_choice import read_choice
from glassformer.reading.named_part import POINTS, Part
from glassformer.reading.recorded_text import BlockPast
from glassformer.run.intervention import editing
from glassformer.structure.role import Hook, Refusal
from glassformer.structure.structure import Structure

Cut = tuple[int, Part]
"""A row of a block's stream, and a part of the block that is off in it."""


@dataclass(frozen=True, slots=True)
class Blank:
    """A tensor with some rows, or some heads of some rows, blank: zero, or `fill` [feature]."""

    place: Hook
    rows: list[int]
    heads: list[int] | None = None
    head_count: int = 1
    fill: Tensor | None = None

    def change(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """A changed copy of a module's tensor [..., feature], whose rows are counted through all leading axes."""
        changed = tensor.clone(memory_format=torch.contiguous_format)
        cells = changed.view(-1, self.head_count, changed.shape[-1] // self.head_count)
        heads: Any = slice(None) if self.heads is None else self.heads
        if self.fill is None:
            cells[self.rows, heads] = 0
        else:
            fill = self.fill.to(cells.device, cells.dtype).view(cells.shape[1:])
            cells[self.rows, heads] = fill[heads]
        return changed


@contextmanager
def switched_off(
    structure: Structure, block: int, cuts: Sequence[Cut], past: BlockPast, *, mean: bool
) -> Iterator[None]:
    """Let a block that runs inside be without the parts of `cuts`; after all other hooks on the same places."""
    with ExitStack() as stack:
        for kind in ("attention", "mixer", "head", "mlp"):
            some = [(row, part) for row, part in cuts if part.kind == kind]
            if some:
                point = POINTS[some[0][1].kind]
                fill = past.means[point] if mean else None
                stack.enter_context(editing([make_blank(structure, point, block, some, fill)], 0, 0))
        experts = [(row, part.number or 0) for row, part in cuts if part.kind == "expert"]
        if experts:
            found = structure.experts(block)
            assert found is not None
            for handle in switch_experts(found.experts, experts, past):
                stack.callback(handle.remove)
        yield


def make_blank(
    structure: Structure, point: str, block: int, cuts: Sequence[Cut], fill: Tensor | None
) -> Blank:
    """The change that blanks a point for `cuts` of one kind. Raises ModelFailed where the point has no place."""
    place = locate(structure, point, block)
    if isinstance(place, Refusal):
        raise ModelFailed(f"{point}.{block} cannot be switched off: {place.reason}.")
    rows = [row for row, _ in cuts]
    if point != "z":
        return Blank(place, rows, fill=fill)
    return Blank(place, rows, [part.number or 0 for _, part in cuts], structure.heads(block)[0], fill)


def switch_experts(experts: nn.Module, cuts: list[tuple[int, int]], past: BlockPast) -> list[Any]:
    """Take the weighted outputs of some experts out of some rows, and put the means, where there are any, in."""

    def before(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        choice = read_choice(module, args, kwargs)
        name, weights = choice.names[2], choice.without(cuts)
        if isinstance(name, int):
            return (*args[:name], weights, *args[name + 1 :]), kwargs
        return args, {**kwargs, name: weights}

    def after(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        changed = output.clone(memory_format=torch.contiguous_format)
        rows = changed.view(-1, changed.shape[-1])
        for row, expert in cuts:
            fill = past.experts.get(expert)
            if fill is not None:
                rows[row] += fill.to(rows.device, rows.dtype)
        return changed

    return [hook_input(experts, before), hook_output(experts, after)]
