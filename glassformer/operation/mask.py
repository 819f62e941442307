"""Mask: minus infinity where a query may not see a key."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.inputs import Inputs, Operation


class Mask(Operation):
    """Causal; with `window` or `chunk` nearer than that, with `pattern` "model" as the model itself masks `block`."""

    def whole(self, inputs: Inputs) -> Tensor:
        scores = inputs.whole(0)
        return scores.masked_fill(~_open_cells(inputs, scores), -torch.inf)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        scores = inputs.bound(0, rounding)
        shut = ~_open_cells(inputs, scores.value)
        return Bounded(scores.value.masked_fill(shut, -torch.inf), scores.error.masked_fill(shut, 0.0))

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        head, query, key = index
        if inputs.attributes.get("pattern") == "model":
            rows, heads = slice(query, query + 1), slice(head, head + 1)
            is_open = bool(inputs.operands.mask(int(inputs.attributes["block"]), rows, heads)[0, 0, key])
        else:
            first_query, first_key = inputs.operands.first_positions()
            window, chunk = _read_reach(inputs)
            is_open = allowed(first_query + query, first_key + key, window, chunk)
        if not is_open:
            note = "Masked: a position attends only to itself and what came before it."
            return Cell(-math.inf, [], r"-\infty", note)
        return inputs.cell(0, index)

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        window = attributes.get("window")
        seen = r"j \le i" if window is None else rf"i - {window} < j \le i"
        return rf"\begin{{cases}}{parts[0]} & {seen} \\ -\infty & \text{{otherwise}}\end{{cases}}"


def allowed(query: int, key: int, window: int | None, chunk: int | None = None) -> bool:
    """Whether a causal (sliding, chunked) mask lets position `query` see position `key`."""
    near = window is None or query - key < window
    return key <= query and near and (chunk is None or query // chunk == key // chunk)


def _read_reach(inputs: Inputs) -> tuple[int | None, int | None]:
    window, chunk = (inputs.attributes.get(name) for name in ("window", "chunk"))
    return None if window is None else int(window), None if chunk is None else int(chunk)


def _open_cells(inputs: Inputs, scores: Tensor) -> Tensor:
    if inputs.attributes.get("pattern") == "model":
        return inputs.operands.mask(int(inputs.attributes["block"]))
    first_query, first_key = inputs.operands.first_positions()
    window, chunk = _read_reach(inputs)
    rows = first_query + torch.arange(scores.shape[1], device=scores.device)[:, None]
    columns = first_key + torch.arange(scores.shape[2], device=scores.device)[None, :]
    open_cells = columns <= rows
    if window is not None:
        open_cells &= rows - columns < window
    if chunk is not None:
        open_cells &= rows // chunk == columns // chunk
    return open_cells
