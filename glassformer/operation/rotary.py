"""Rotary: pairs of features turned by an angle that grows with the position (Su et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glassformer.operation.bounded import SUM_UNIT, Bounded, Rounding
from glassformer.operation.cell import Cell
from glassformer.operation.formula import bracket, named
from glassformer.operation.inputs import Inputs, Operation
from glassformer.operation.term import merged_terms, number, scaled


class Rotary(Operation):
    """By the tables of `block`; `pairing` and `table` as `spread_table` and `rotary_partner` say."""

    def whole(self, inputs: Inputs) -> Tensor:
        x = inputs.whole(0)
        cos, sin = _read_tables(inputs)
        turned, partner, kept = _part(x, cos.shape[-1], inputs)
        return torch.cat([turned * cos + partner * sin, kept], dim=-1)

    def bound(self, inputs: Inputs, rounding: Rounding) -> Bounded:
        x = inputs.bound(0, rounding)
        cos, sin = (table.to(x.value.dtype) for table in _read_tables(inputs))
        turned, partner, kept = _part(x.value, cos.shape[-1], inputs)
        turned_error, partner_error, kept_error = _part(x.error, cos.shape[-1], inputs)
        first = rounding.stored(turned * cos, turned_error * cos.abs())
        second = rounding.stored(partner * sin, partner_error.abs() * sin.abs())
        value = first.value + second.value
        found = rounding.stored(value, first.error + second.error + 3 * SUM_UNIT * value.abs())
        return Bounded(torch.cat([found.value, kept], dim=-1), torch.cat([found.error, kept_error], dim=-1))

    def cell(self, inputs: Inputs, index: list[int]) -> Cell:
        head, pos, feature = index
        cos, sin = _read_tables(inputs)
        own = inputs.cell(0, index)
        if feature >= cos.shape[-1]:
            return own
        partner, sign = rotary_partner(feature, cos.shape[-1], str(inputs.attributes["pairing"]))
        other = inputs.cell(0, [head, pos, partner])
        c, s = float(cos[pos, feature]), sign * float(sin[pos, feature])
        value = own.value * c + other.value * s
        products = [(own.value, c), (other.value, s)]
        body = " + ".join(rf"{bracket(number(x))} \cdot {bracket(number(y))}" for x, y in products)
        turned = [
            scaled(cell.terms if cell.result is None else [cell.as_one("input")], factor, named(factor, name))
            for cell, factor, name in ((own, c, "cos"), (other, s, "sin" if sign > 0 else "−sin"))
        ]
        return Cell(value, merged_terms(*turned), f"{number(value)} = {body}")

    def latex(self, parts: list[str], attributes: dict[str, Any]) -> str:
        return rf"R_{{\theta}}\left({parts[0]}\right)"


def spread_table(table: Tensor, attributes: dict[str, Any]) -> Tensor:
    """A cosine or sine table [pos, width] as one value for each rotated feature, [pos, d_rotary].

    Models keep one angle a pair (`table` "angles"), or the angles twice over (`table` "halves"), or each angle
    next to itself (`table` "neighbours"); the pairing of the features is a separate matter.
    """
    kept = str(attributes["table"])
    angles = (
        table if kept == "angles" else table[:, : table.shape[1] // 2] if kept == "halves" else table[:, ::2]
    )
    if attributes["pairing"] == "halves":
        return torch.cat([angles, angles], dim=1)
    return angles.repeat_interleave(2, dim=1)


def rotary_partner(index: int, d_rotary: int, pairing: str) -> tuple[int, float]:
    """The feature that rotary embedding mixes into `index`, and the sign of its sine term.

    `halves` pairs i with i + d/2 (GPT-NeoX, Llama); `neighbours` pairs 2i with 2i + 1 (Su et al. 2021).
    """
    if pairing == "halves":
        half = d_rotary // 2
        return (index + half, -1.0) if index < half else (index - half, 1.0)
    return (index + 1, -1.0) if index % 2 == 0 else (index - 1, 1.0)


def _read_tables(inputs: Inputs) -> tuple[Tensor, Tensor]:
    cos, sin = inputs.operands.rotary(int(inputs.attributes["block"]))
    return spread_table(cos, inputs.attributes), spread_table(sin, inputs.attributes)


def _part(x: Tensor, d_rotary: int, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """The features that are turned, each one's partner with its sign, and the features that are left alone."""
    pairing = str(inputs.attributes["pairing"])
    order, signs = zip(*(rotary_partner(i, d_rotary, pairing) for i in range(d_rotary)), strict=True)
    partner = x[..., list(order)] * torch.tensor(signs, dtype=x.dtype, device=x.device)
    return x[..., :d_rotary], partner, x[..., d_rotary:]
