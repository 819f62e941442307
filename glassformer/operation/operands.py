"""Where an equation's numbers come from: one way for checks, explanations and interventions alike."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from glassformer.protocol.anatomy import Input, SiteInput, WeightInput

Region = tuple[slice, ...]
"""A slice for each axis, in order; none for all of it."""


class Operands(Protocol):
    """The tensors that equations read. Whatever runs a module holds the model's lock meanwhile."""

    def site(self, address: str, region: Region = ()) -> Tensor:
        """The values of a site, in the order of its axes. Raises UnknownAddress where there are none."""

    def shape(self, address: str) -> tuple[int, ...]:
        """The shape of a site. Raises UnknownAddress where it has no values."""

    def weight(self, name: str) -> Tensor:
        """A parameter, as stored."""

    def is_rounded(self, name: str) -> bool:
        """Whether the numbers of a parameter were made from fewer bits, and stored again."""

    def token_ids(self) -> Tensor:
        """The token ids, [pos]."""

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine tables of a block, each [pos, d_rotary]. Raises UnknownAddress where there are none."""

    def first_positions(self) -> tuple[int, int]:
        """Where the first query and the first key stand in the text."""

    def mask(self, block: int, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        """Which keys each query may see, as the model itself masks them; boolean, [head, query, key]."""

    def activate(self, block: int, x: Tensor) -> Tensor:
        """The block's own activation function, of numbers in whatever format."""

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        """What one of the model's own modules makes of tensors, which are brought to its format and device."""


def read_row(operands: Operands, address: str, index: list[int]) -> Tensor:
    """All values of a site along its last axis at `index`, which leaves that axis out; float64."""
    region = (*(slice(i, i + 1) for i in index), slice(0, operands.shape(address)[-1]))
    return operands.site(address, region).double().cpu().reshape(-1)


def read_cell(operands: Operands, address: str, index: list[int]) -> float:
    """One value of a site."""
    return float(operands.site(address, tuple(slice(i, i + 1) for i in index)).reshape(-1)[0])


def find_kv_head(operands: Operands, head: int, first: Input, second: Input) -> int:
    """The head of `second`, keys or values, that `head` of `first` uses."""
    heads, kv_heads = (operands.shape(site_of(given).address)[0] for given in (first, second))
    return head // (heads // kv_heads)


def site_of(given: Input) -> SiteInput:
    """An input that has to be a site."""
    assert isinstance(given, SiteInput)
    return given


def weight_of(given: Input) -> WeightInput:
    """An input that has to be a weight."""
    assert isinstance(given, WeightInput)
    return given
