"""Norm: each row divided by its size, with a gain and a shift for each feature where there are any.

RMS norm (Zhang and Sennrich 2019) and layer norm (Ba, Kiros and Hinton 2016).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding, sum_unit
from glassformer.operation.cell import Cell, cell_of
from glassformer.operation.formula import FIRST, bracket, named
from glassformer.operation.heads import give_heads, merge_heads, split_heads, take_features
from glassformer.operation.inputs import Inputs, NotLinear, Operation, Pulled
from glassformer.operation.operands import weight_of
from glassformer.operation.term import Addend, number, scaled
from glassformer.protocol.explanation import Operand, Part, SumPart


class Norm(Operation):
    """`norm` "rms" or "layer", `eps` under the root, `offset` that is added to the gain.

    `merge_heads` takes [head, pos, d_head] as [pos, feature], `heads` gives a result by heads again.
    """

    def whole(self, inputs: Inputs) -> Tensor:
        x = take_features(inputs.whole(0).float(), inputs.attributes)
        centred = x - x.mean(-1, keepdim=True) if _is_layer(inputs) else x
        normed = centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + _eps(inputs))
        gain, shift = _parameters(inputs, x.dim(), torch.float32)
        if gain is not None:
            normed = normed * gain
        if shift is not None:
            normed = normed + shift
        return give_heads(normed, inputs.attributes)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x = inputs.bound(0, rounding).map(lambda tensor: take_features(tensor, inputs.attributes))
        width, eps = x.value.shape[-1], _eps(inputs)
        mean = x.value.mean(-1, keepdim=True) if _is_layer(inputs) else torch.zeros_like(x.value[..., :1])
        centred = x.value - mean
        size = torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps)
        value = centred / size
        unit = sum_unit(width + 4)
        # Errors that come with the row move its size, and its mean, by as much as their root mean square.
        moved = x.error.pow(2).mean(-1, keepdim=True).sqrt() / size
        error = (x.error / size) + value.abs() * (moved + unit)
        if _is_layer(inputs):
            error = error + moved + value.abs() * unit * (mean / size).pow(2)
            error = error + (x.value.abs() + mean.abs()) / size * unit
        gain, shift = _parameters(inputs, x.value.dim(), value.dtype)
        found = rounding.stored(value, error)
        if gain is not None:
            found = rounding.stored(
                found.value * gain, found.error * gain.abs() + SUM_UNIT * (value * gain).abs()
            )
        if shift is not None:
            total = found.value + shift
            found = rounding.stored(total, found.error + SUM_UNIT * total.abs())
        return found.map(lambda tensor: give_heads(tensor, inputs.attributes))

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        row, place, feature = _find_row(inputs, index)
        inner = inputs.cell(0, place)
        layer = _is_layer(inputs)
        mean = float(row.mean()) if layer else 0.0
        size = math.sqrt(float((row - mean).pow(2).mean()) + _eps(inputs)) or math.nan
        over = [named(size, "standard deviation" if layer else "root mean square")]
        gain, operands, factors = _explain_gain(inputs, index, feature)
        terms = scaled(
            inner.terms if inner.result is None else [inner.as_one("input")],
            gain / size,
            *factors,
            over=over,
            operands=operands,
        )
        top = f"{number(inner.value)} - {bracket(number(mean))}" if layer else number(inner.value)
        latex = rf"\frac{{{top}}}{{{number(size)}}} \cdot {bracket(number(gain))}"
        if layer:
            centre = Addend("mean", -mean, (), named(-mean, "−mean"))
            terms += scaled([centre], gain / size, *factors, over=over, operands=operands)
        value = (inner.value - mean) * gain / size
        if inputs.count > 2:
            bias = cell_of(*inputs.read(2, _place_of(inputs, 2, index, feature)), label="norm bias")
            terms += bias.terms
            value += bias.value
            latex += f" + {bracket(bias.latex)}"
        return Cell(value, terms, f"{number(value)} = {latex}")

    def row(self, inputs: Inputs, index: list[int]) -> Tensor:
        by_heads = any(inputs.whole(at).dim() > 1 for at in range(1, inputs.count))
        if inputs.attributes.get("heads") or by_heads:
            return super().row(inputs, index)
        x = inputs.row(0, index)
        centred = x - x.mean() if _is_layer(inputs) else x
        gain, shift = _parameters(inputs, 1, torch.float64)
        out = centred / torch.sqrt(centred.pow(2).mean() + _eps(inputs))
        out = out if gain is None else out * gain.to(out)
        return out if shift is None else out + shift.to(out)

    def pull(self, inputs: Inputs, worth: Tensor) -> Pulled:
        size, gain, shift = _freeze(inputs, worth)
        heads, merges = inputs.attributes.get("heads"), inputs.attributes.get("merge_heads")
        flat = merge_heads(worth) if heads else worth
        back = flat / size if gain is None else flat * gain / size
        if _is_layer(inputs):
            back = back - back.mean(-1, keepdim=True)
        own = 0.0 if shift is None else float((flat * shift).sum())
        return Pulled({0: split_heads(back, int(heads)) if merges and heads else back}, own)

    def push(self, inputs: Inputs, rows: Tensor) -> Tensor:
        size, gain, _ = _freeze(inputs, rows)
        if inputs.attributes.get("merge_heads"):
            if _is_layer(inputs):
                raise NotLinear("what one head brings would move the mean of all")
            gain = None if gain is None else split_heads(gain.view(1, -1), int(inputs.attributes["heads"]))
        centred = rows - rows.mean(-1, keepdim=True) if _is_layer(inputs) else rows
        return centred / size if gain is None else centred * gain / size

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        x, offset = parts[0], float(attributes.get("offset", 0.0))
        gain = "" if len(parts) < 2 else parts[1] if not offset else rf"\left({offset:g} + {parts[1]}\right)"
        if attributes["norm"] == "rms":
            body = rf"\frac{{{x}}}{{\operatorname{{rms}}({x})}}"
            return rf"{body} \odot {gain}" if gain else body
        shift = r" + \beta" if len(parts) > 2 else ""
        body = rf"\frac{{{x} - \mu}}{{\sigma}}"
        return (rf"{body} \odot {gain}" if gain else body) + shift


def _freeze(inputs: Inputs, like: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The size that the one row has, its gain and its shift, on the device and in the format of `like`."""
    x = take_features(inputs.whole(0).double(), inputs.attributes)
    centred = x - x.mean(-1, keepdim=True) if _is_layer(inputs) else x
    size = torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + _eps(inputs))
    gain, shift = _parameters(inputs, x.dim(), torch.float64)
    return size.to(like), None if gain is None else gain.to(like), None if shift is None else shift.to(like)


def _is_layer(inputs: Inputs) -> bool:
    return bool(inputs.attributes["norm"] == "layer")


def _eps(inputs: Inputs) -> float:
    return float(inputs.attributes["eps"])


def _parameters(inputs: Inputs, dims: int, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
    """Gain (with its offset) and shift, as they are broadcast over rows; a gain for each head is [head, d_head]."""
    found = [inputs.whole(at).to(dtype) for at in range(1, inputs.count)]
    if dims == 3:
        found = [each[:, None] if each.dim() == 2 else each for each in found]
    gain = found[0] + float(inputs.attributes.get("offset", 0.0)) if found else None
    return gain, found[1] if len(found) > 1 else None


def _find_row(inputs: Inputs, index: list[int]) -> tuple[Tensor, list[int], int]:
    """What a norm is over: its values, the cell's index in the norm's input, and which of the values that is."""
    heads = inputs.attributes.get("heads")
    if not heads:
        return inputs.row(0, index[:-1]), index, index[-1]
    head, pos, within = index
    if inputs.attributes.get("merge_heads"):
        rows = [inputs.row(0, [each, pos]) for each in range(int(heads))]
        return torch.cat(rows), index, head * len(rows[0]) + within
    row = inputs.row(0, [pos])
    feature = head * (len(row) // int(heads)) + within
    return row, [pos, feature], feature


def _explain_gain(inputs: Inputs, index: list[int], feature: int) -> tuple[float, list[Operand], list[Part]]:
    """A norm's gain at one feature: its value, its cell and its formula; one, where it has none."""
    if inputs.count < 2:
        return 1.0, [], []
    operand, value = inputs.read(1, _place_of(inputs, 1, index, feature))
    offset = float(inputs.attributes.get("offset", 0.0))
    factor: Part = SumPart(parts=[named(offset, "offset"), FIRST]) if offset else FIRST
    return value + offset, [operand], [factor]


def _place_of(inputs: Inputs, at: int, index: list[int], feature: int) -> list[int]:
    """Where a gain or shift stands for one feature; they may be by heads, [head, d_head]."""
    by_heads = inputs.operands.weight(weight_of(inputs.given(at)).name).dim() == 2
    return [index[0], feature] if by_heads else [feature]
