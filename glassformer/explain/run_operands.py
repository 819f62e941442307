"""The operands of a run's cells: regions of its sites, and what its model brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from glassformer.capture.model_operands import ModelOperands
from glassformer.errors import UnknownAddress
from glassformer.operation.operands import Region

if TYPE_CHECKING:
    from glassformer.run.run import Run


class RunOperands(ModelOperands):
    """See `Operands`; sites are read as the run shows them, made again where they are not at hand."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.loaded.structure)
        self._run = run

    def site(self, address: str, region: Region = ()) -> Tensor:
        return torch.from_numpy(self._run.read(address, region or None, copies=True))

    def shape(self, address: str) -> tuple[int, ...]:
        return self._run.shape(self._run.require_site(address))

    def token_ids(self) -> Tensor:
        return torch.tensor(self._run.token_ids)

    def first_positions(self) -> tuple[int, int]:
        return 0, 0

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        tables = self._run.block_sites(block).rotary
        if tables is None:
            raise UnknownAddress("rotary", "the model passed no rotary tables")
        return tables

    def mask(self, block: int, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        call = self._run.block_sites(block).call
        if call is None:
            raise UnknownAddress("mask", "the model passed no mask")
        return torch.isfinite(call.scores(rows, heads))
