"""Matmul: a linear map, with the bias where it has one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell, cell_of
from glassformer.operation.formula import FIRST, PAIR, add_up, bracket, named, times
from glassformer.operation.heads import give_heads, merge_heads, split_heads, take_features
from glassformer.operation.inputs import Inputs, Operation, Pulled
from glassformer.operation.operands import Region, site_of, weight_of
from glassformer.operation.term import Addend, label_of, number, operand_of
from glassformer.protocol.anatomy import EquationInput, WeightInput


class Matmul(Operation):
    """`transposed` says that the weight is stored [d_in, d_out]; `rows` picks a role's (see `list_rows`).

    `merge_heads` takes [head, pos, d_head] as [pos, feature], `heads` gives a result by heads.
    """

    def whole(self, inputs: Inputs) -> Tensor:
        x = take_features(inputs.whole(0), inputs.attributes)
        weight, bias = read_map(inputs)
        return give_heads(torch.nn.functional.linear(x.to(weight.dtype), weight, bias), inputs.attributes)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x = inputs.bound(0, rounding).map(lambda tensor: take_features(tensor, inputs.attributes))
        weight, bias = read_map(inputs)
        if isinstance(inputs.given(0), EquationInput):
            x = rounding.stored(x.value, x.error) if weight.dtype != torch.float32 else x
        else:
            x = rounding.exact(x.value.to(weight.dtype))
        # In float32, which is twice as quick: both sums may be off by as much.
        wide = weight.float()
        value = (x.value.float() @ wide.T).double()
        unit = 2 * sum_unit(weight.shape[1] + 2)
        if inputs.operands.is_rounded(weight_of(inputs.given(1)).name):
            unit += rounding.unit
        # Cauchy and Schwarz in place of the sum of the products' sizes, which would take a product of its own.
        error = unit * x.value.norm(dim=1)[:, None] * wide.norm(dim=1).double()
        if bool(x.error.any()):
            error = error + (x.error.float() @ wide.abs().T).double()
        found = rounding.stored(value, error)
        if bias is not None:
            total = value + bias.double()
            found = rounding.stored(total, found.error + SUM_UNIT * total.abs())
        return found.map(lambda tensor: give_heads(tensor, inputs.attributes))

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        heads, transposed = inputs.attributes.get("heads"), bool(inputs.attributes.get("transposed"))
        given = weight_of(inputs.given(1))
        weight, _ = read_map(inputs)
        places = _list_stored(inputs, given)
        if heads:
            head, pos, within = index
            out = head * (weight.shape[0] // int(heads)) + within
        else:
            pos, out = index
        x, features, site = _read_features(inputs, pos)
        row = weight[out].detach().double().cpu()
        products = (x * row).tolist()
        terms = []
        for j, place in enumerate(features):
            stored = [j, places[out]] if transposed else [places[out], j]
            cell = operand_of("weight", given.name, stored, float(row[j]))
            if site is None:  # what is computed on the way has no cell to point at
                formula = times(FIRST, named(float(x[j]), "input"))
                terms.append(Addend(label_of(place), products[j], (cell,), formula))
                continue
            cells = (operand_of("site", site, place, float(x[j])), cell)
            terms.append(Addend(label_of(place), products[j], cells, PAIR))
        total = add_up(products)
        body = r"\sum_j x_j w_j"
        if inputs.count > 2:
            name = weight_of(inputs.given(2)).name
            value = float(inputs.operands.weight(name)[places[out]])
            bias = cell_of(operand_of("weight", name, [places[out]], value), value, label="bias")
            terms += bias.terms
            total += bias.value
            body += f" + {bracket(bias.latex)}"
        return Cell(total, terms, f"{number(total)} = {body}")

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        flat = merge_heads(worth) if inputs.attributes.get("heads") else worth
        weight, bias = read_map(inputs)
        back = (flat.to(weight.device, torch.float32) @ weight.float()).to(worth)
        own = 0.0 if bias is None else float((flat * bias.to(worth)).sum())
        if inputs.attributes.get("merge_heads"):
            back = split_heads(back, inputs.whole(0).shape[0])
        return Pulled({0: back}, own)

    def push(self, inputs: Inputs, rows: Tensor) -> Tensor:
        weight, _ = read_map(inputs)
        wide = weight.to(rows)
        if inputs.attributes.get("merge_heads"):
            by_head = wide.view(len(wide), len(rows), -1).permute(1, 2, 0)
            return torch.matmul(rows, by_head)
        return rows @ wide.T

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        x, _, _ = _read_features(inputs, index[-1])
        weight, bias = read_map(inputs)
        heads = inputs.attributes.get("heads")
        width = len(weight) // int(heads) if heads else len(weight)
        first = index[0] * width if heads else 0
        out = weight[first : first + width].detach().double().cpu() @ x
        return out if bias is None else out + bias[first : first + width].detach().double().cpu()

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"{parts[1]}\,{parts[0]}" + (" + b" if len(parts) > 2 else "")


def cut_weight(
    given: WeightInput, stored: Tensor, *, transposed: bool, rows: list[int] | None = None
) -> Tensor:
    """The run of output features an input names, as [d_out, d_in] (or [d_out] for a bias).

    `rows` (see `list_rows`) picks them where several roles take turns in one weight.
    """
    weight = stored.T if transposed and stored.dim() == 2 else stored
    if rows is not None:
        return weight[list_rows(rows, weight.shape[0])]
    return weight[given.start : given.stop]


def list_rows(rows: list[int], d_out: int) -> list[int]:
    """Output features of a role in a weight that several share, in order.

    `rows` is [groups, units, first, count]: the features are groups of `units` equal runs, and the role has `count`
    runs from the `first` of each group (GPT-NeoX: one group a head, of a query, a key and a value).
    """
    groups, units, first, count = rows
    places = torch.arange(d_out).view(groups, units, d_out // (groups * units))
    return [int(place) for place in places[:, first : first + count].reshape(-1)]


def read_map(inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """A map's weight [d_out, d_in] and its bias [d_out]."""
    transposed, rows = bool(inputs.attributes.get("transposed")), inputs.attributes.get("rows")
    found = [
        cut_weight(
            weight_of(inputs.given(at)), inputs.whole(at), transposed=transposed and at == 1, rows=rows
        )
        for at in range(1, inputs.count)
    ]
    return found[0], found[1] if len(found) > 1 else None


def _list_stored(inputs: Inputs, given: WeightInput) -> list[int]:
    """For each output feature of a map, its row in the stored weight."""
    stored = inputs.operands.weight(given.name)
    d_out = stored.shape[-1] if inputs.attributes.get("transposed") else stored.shape[0]
    rows = inputs.attributes.get("rows")
    return list_rows(rows, d_out) if rows else [*range(given.start or 0, given.stop or d_out)]


def _read_features(inputs: Inputs, pos: int) -> tuple[Tensor, list[list[int]], str | None]:
    """The input features of a map at one position, each one's index, and their site; None where they are nested."""
    if isinstance(inputs.given(0), EquationInput):
        x = inputs.row(0, [pos]).cpu()
        return x, [[pos, j] for j in range(len(x))], None
    address = site_of(inputs.given(0)).address
    shape, here = inputs.operands.shape(address), slice(pos, pos + 1)
    if inputs.attributes.get("merge_heads"):
        region: Region = (slice(0, shape[0]), here, slice(0, shape[2]))
        places = [[head, pos, j] for head in range(shape[0]) for j in range(shape[2])]
    else:
        region = (here, slice(0, shape[1]))
        places = [[pos, j] for j in range(shape[1])]
    return inputs.operands.site(address, region).double().cpu().reshape(-1), places, address
