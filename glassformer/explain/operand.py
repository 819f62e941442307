"""The operands of a cell: single values and whole rows of a recording's sites and a model's weights, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from glassformer.errors import UnknownAddress
from glassformer.operation.equation import FUNCTIONS, cut_weight, list_rows
from glassformer.protocol.anatomy import Equation, EquationInput, Input, SiteInput, WeightInput
from glassformer.protocol.explanation import Operand

if TYPE_CHECKING:
    from glassformer.run.run import Trace


class Operands:
    """Reads what the inputs of an equation are; `evaluate` computes one cell of an equation that no site shows."""

    def __init__(self, trace: Trace, evaluate: Callable[[Equation, list[int]], float]) -> None:
        self._trace = trace
        self._evaluate = evaluate

    def read(self, given: Input, index: list[int]) -> tuple[Operand, float]:
        """One cell of a site or a weight, and its value, which the message leaves out where it is not finite."""
        if isinstance(given, SiteInput):
            value = self._trace.value(given.address, index)
            return self.site(given.address, index, value), value
        assert isinstance(given, WeightInput)
        stored = [index[0] + (given.start or 0), *index[1:]]
        value = float(self.parameter(given.name)[tuple(stored)])
        return weight_operand(given.name, stored, value), value

    def parameter(self, name: str) -> torch.Tensor:
        return self._trace.loaded.structure.parameter(name)

    def site(self, address: str, index: list[int], value: float) -> Operand:
        return Operand(kind="site", name=address, index=index, value=value if math.isfinite(value) else None)

    def vector(self, given: Input, index: list[int]) -> torch.Tensor:
        """All values along the last axis of any input at `index` (which leaves that axis out), in float64."""
        if isinstance(given, SiteInput):
            return self.row(given, index)
        assert isinstance(given, EquationInput)
        inner = given.equation
        match inner.operation:
            case "add":
                return torch.stack([self.vector(part, index) for part in inner.inputs]).sum(0)
            case "scale":
                return self.vector(inner.inputs[0], index) * float(inner.attributes["factor"])
            case "matmul":
                return self._mapped_vector(inner, index)
            case "lookup":
                return self._table_row(inner, index[-1])
            case "weighted_sum":
                return self._mixed_vector(inner, index)
            case "multiply" if not inner.attributes.get("broadcast"):
                first, second = (self.vector(part, index) for part in inner.inputs)
                return first * second
            case "activation":
                return self.activate(inner, self.vector(inner.inputs[0], index))
        width = len(self.vector(inner.inputs[0], index))
        return torch.tensor([self._evaluate(inner, [*index, j]) for j in range(width)]).double()

    def _table_row(self, equation: Equation, pos: int) -> torch.Tensor:
        table = equation.inputs[0]
        assert isinstance(table, WeightInput)
        stored = self._trace.loaded.structure.parameter(table.name)
        return stored[self.row_of_table(equation, pos)].detach().double().cpu()

    def row_of_table(self, equation: Equation, pos: int) -> int:
        by_token = equation.attributes["by"] == "token_ids"
        return self._trace.token_ids[pos] if by_token else pos + int(equation.attributes.get("first", 0))

    def _mapped_vector(self, equation: Equation, index: list[int]) -> torch.Tensor:
        source, weight, bias = self.map_parts(equation)
        x, _ = self.features(source.address, index[-1], merged=bool(equation.attributes.get("merge_heads")))
        heads = equation.attributes.get("heads")
        width = len(weight) // int(heads) if heads else len(weight)
        first = index[0] * width if heads else 0
        out = weight[first : first + width].double().cpu() @ x
        return out if bias is None else out + bias[first : first + width].double().cpu()

    def _mixed_vector(self, equation: Equation, index: list[int]) -> torch.Tensor:
        head, pos = index
        first, second = equation.inputs
        assert isinstance(second, SiteInput)
        weights = self.row(first, [head, pos])
        shape = self._trace.shape(self._trace.require_site(second.address))
        kv_head = self.kv_head(head, first, second)
        region = (slice(kv_head, kv_head + 1), slice(0, len(weights)), slice(0, shape[2]))
        return weights @ torch.from_numpy(self._trace.read(second.address, region)[0].copy()).double()

    def map_parts(self, equation: Equation) -> tuple[SiteInput, torch.Tensor, torch.Tensor | None]:
        """A linear map's source, its weight [d_out, d_in] and its bias [d_out]."""
        source = equation.inputs[0]
        assert isinstance(source, SiteInput)
        transposed, rows = bool(equation.attributes.get("transposed")), equation.attributes.get("rows")
        maps = [given for given in equation.inputs[1:] if isinstance(given, WeightInput)]
        parameter = self._trace.loaded.structure.parameter
        weight = cut_weight(maps[0], parameter(maps[0].name), transposed=transposed, rows=rows)
        bias = None
        if len(maps) > 1:
            bias = cut_weight(maps[1], parameter(maps[1].name), transposed=False, rows=rows)
        return source, weight.detach(), None if bias is None else bias.detach()

    def kv_head(self, head: int, first: Input, second: Input) -> int:
        """The head of `second`, keys or values, that `head` of `first` uses."""
        assert isinstance(first, SiteInput)
        assert isinstance(second, SiteInput)
        heads, kv_heads = (
            self._trace.shape(self._trace.require_site(given.address))[0] for given in (first, second)
        )
        return head // (heads // kv_heads)

    def row(self, given: Input, index: list[int]) -> torch.Tensor:
        """All values of a site along its last axis at `index`, which leaves that axis out."""
        if not isinstance(given, SiteInput):
            raise UnknownAddress("equation", "only a site can be read by rows")
        width = self._trace.shape(self._trace.require_site(given.address))[-1]
        region = (*(slice(i, i + 1) for i in index), slice(0, width))
        return torch.from_numpy(self._trace.read(given.address, region).copy()).double().reshape(-1)

    def norm_row(self, equation: Equation, index: list[int]) -> tuple[torch.Tensor, list[int], int]:
        """What a norm is over: its values, the cell's index in the norm's input, and which of the values that is."""
        given, heads = equation.inputs[0], equation.attributes.get("heads")
        if not heads:
            return self.vector(given, index[:-1]), index, index[-1]
        head, pos, within = index
        if equation.attributes.get("merge_heads"):
            rows = [self.vector(given, [h, pos]) for h in range(int(heads))]
            return torch.cat(rows), index, head * len(rows[0]) + within
        row = self.vector(given, [pos])
        feature = head * (len(row) // int(heads)) + within
        return row, [pos, feature], feature

    def gain_index(self, equation: Equation, index: list[int], feature: int) -> list[int]:
        """The cell of a norm's gain: by feature, or by head and feature where each head has its own."""
        assert isinstance(equation.inputs[1], WeightInput)
        gain = self._trace.loaded.structure.parameter(equation.inputs[1].name)
        return [index[0], feature] if gain.dim() == 2 else [feature]

    def stored_rows(self, equation: Equation, given: WeightInput) -> list[int]:
        """For each output feature of a linear map, its row in the stored weight."""
        stored = self._trace.loaded.structure.parameter(given.name)
        d_out = stored.shape[-1] if equation.attributes.get("transposed") else stored.shape[0]
        rows = equation.attributes.get("rows")
        return list_rows(rows, d_out) if rows else [*range(given.start or 0, given.stop or d_out)]

    def features(self, address: str, pos: int, *, merged: bool) -> tuple[torch.Tensor, list[list[int]]]:
        """The input features of a linear map at one position, and each one's index in its site."""
        shape = self._trace.shape(self._trace.require_site(address))
        if not merged:
            row = self._trace.read(address, (slice(pos, pos + 1), slice(0, shape[1])))
            return torch.from_numpy(row.copy()).double().reshape(-1), [[pos, j] for j in range(shape[1])]
        row = self._trace.read(address, (slice(0, shape[0]), slice(pos, pos + 1), slice(0, shape[2])))
        places = [[head, pos, j] for head in range(shape[0]) for j in range(shape[2])]
        return torch.from_numpy(row.copy()).double().reshape(-1), places

    def own_score(self, block: int, index: list[int]) -> float:
        """A score as attention itself masks it."""
        call = self._trace.block_sites(block).call
        if call is None:
            raise UnknownAddress("mask", "the model passed no mask")
        head, query, key = index
        return float(call.scores(slice(query, query + 1), slice(head, head + 1))[0, 0, key])

    def activate(self, equation: Equation, given: torch.Tensor) -> torch.Tensor:
        """An activation of float64 values, by the block's own module where it has one."""
        if "block" not in equation.attributes:
            return FUNCTIONS[str(equation.attributes["function"])](given)
        structure, block = self._trace.loaded.structure, int(equation.attributes["block"])
        with torch.inference_mode():
            try:
                return structure.activate(block, given.to(self._trace.loaded.device)).double().cpu()
            except (TypeError, RuntimeError, NotImplementedError):  # a device or a module without float64
                return structure.activate(block, given.float().to(self._trace.loaded.device)).double().cpu()


def weight_operand(name: str, stored: list[int], value: float) -> Operand:
    return Operand(kind="weight", name=name, index=stored, value=value if math.isfinite(value) else None)
