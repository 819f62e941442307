"""Lookup: rows of a table, by token ids, by positions, or one row for all."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.cell import Cell, cell_of
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.operands import weight_of


class Lookup(Operation):
    """`by` "token_ids", or "positions", of which the first stands in row `first` of the table, or "row": that alone."""

    def whole(self, inputs: Inputs) -> Tensor:
        table, ids = inputs.whole(0), inputs.operands.token_ids()
        if inputs.attributes["by"] == "token_ids":
            return table[ids]
        if inputs.attributes["by"] == "row":
            return table[int(inputs.attributes["first"])].expand(len(ids), -1)
        first = _first_row(inputs)
        if first + len(ids) > len(table):
            raise IndexError(f"{first + len(ids)} positions need more than {len(table)} rows")
        return table[first : first + len(ids)]

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        return rounding.exact(self.whole(inputs))

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        pos, feature = index
        row = _row_of(inputs, pos)
        return cell_of(*inputs.read(0, [row, feature]), label=f"row {row}")

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        table = inputs.operands.weight(weight_of(inputs.given(0)).name)
        return table[_row_of(inputs, index[-1])].detach().double().cpu()

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        by = {"token_ids": "t", "positions": "i"}.get(str(attributes["by"]), attributes.get("first"))
        return f"{parts[0]}[{by}]"


def _first_row(inputs: Inputs) -> int:
    return int(inputs.attributes.get("first", 0)) + inputs.operands.first_positions()[0]


def _row_of(inputs: Inputs, pos: int) -> int:
    if inputs.attributes["by"] == "token_ids":
        return int(inputs.operands.token_ids()[pos])
    if inputs.attributes["by"] == "row":
        return int(inputs.attributes["first"])
    return _first_row(inputs) + pos
