"""What a module of experts is handed: rows, which experts they chose, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Choice:
    """`hidden` [row, d_model], `chosen` [row, choice], and `weights` of the chosen or, [row, expert], of all.

    Each may have axes more before that of rows; together they are the rows.
    `names` are the places of the three among a module's arguments: numbers of those without a name.
    """

    hidden: Tensor
    chosen: Tensor
    weights: Tensor
    names: tuple[int | str, int | str, int | str]

    @property
    def is_spread(self) -> bool:
        """Whether there is a weight for every expert."""
        return self.weights.shape != self.chosen.shape

    def chosen_at(self, row: int) -> list[int]:
        """The experts that a row chose, those with a weight."""
        if not self.is_spread:
            return sorted(set(flatten(self.chosen)[row].tolist()))
        return flatten(self.weights)[row].nonzero()[:, 0].tolist()

    def is_of(self, expert: int) -> Tensor:
        """Where the weights are those of one expert, in their own shape."""
        if not self.is_spread:
            return self.chosen == expert
        return (torch.arange(self.weights.shape[-1], device=self.weights.device) == expert).expand_as(
            self.weights
        )

    def only(self, expert: int, rows: slice) -> Choice:
        """Some rows, with all experts but one switched off."""
        alone = self.weights.masked_fill(~self.is_of(expert), 0)
        return Choice(
            flatten(self.hidden)[rows], flatten(self.chosen)[rows], flatten(alone)[rows], self.names
        )

    def without(self, cuts: list[tuple[int, int]]) -> Tensor:
        """The weights with some experts of some rows, (row, expert), at zero."""
        weights = flatten(self.weights).clone()
        for row, expert in cuts:
            weights[row].masked_fill_(flatten(self.is_of(expert))[row], 0)
        return weights.reshape(self.weights.shape)

    def run(self, experts: nn.Module) -> Tensor:
        """What the experts make of it."""
        given = dict(zip(self.names, (self.hidden, self.chosen, self.weights), strict=True))
        args = [given[place] for place in sorted(name for name in given if isinstance(name, int))]
        found: Tensor = experts(
            *args, **{name: value for name, value in given.items() if isinstance(name, str)}
        )
        return found


def flatten(value: Tensor) -> Tensor:
    """All rows of a value, [row, feature]."""
    return value.reshape(-1, value.shape[-1])


def read_choice(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Choice:
    """What a module of experts (`structure.module.takes_choice`) is about to be run on."""
    given: dict[int | str, Any] = {}
    given.update(enumerate(args))
    given.update(kwargs)
    tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    hidden = next(iter(tensors))
    chosen = next(name for name, value in tensors.items() if not value.is_floating_point())
    weights = next(name for name, value in tensors.items() if name != hidden and value.is_floating_point())
    return Choice(tensors[hidden], tensors[chosen], tensors[weights], (hidden, chosen, weights))
