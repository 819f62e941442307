"""The operands of equations that a model itself brings, and those that one captured forward adds to them."""

from __future__ import annotations

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.compute.quantize import is_quantised
from glassformer.errors import UnknownAddress
from glassformer.operation.operands import Region
from glassformer.structure.structure import Structure


class ModelOperands:
    """Weights and modules of a model: the half of `Operands` that does not depend on what ran."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure

    def weight(self, name: str) -> Tensor:
        return self._structure.parameter(name)

    def is_rounded(self, name: str) -> bool:
        return is_quantised(self._structure.stored(name))

    def activate(self, block: int, x: Tensor) -> Tensor:
        return self._structure.activate(block, x)

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        model = self._structure.model
        formatted = [
            tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)
            for tensor in given
        ]
        with torch.inference_mode():
            return self._structure.run_module(name, *formatted)


class CapturedOperands(ModelOperands):
    """Those of one forward of `token_ids` [pos] whose sites were captured; see `Operands`."""

    def __init__(self, structure: Structure, token_ids: Tensor) -> None:
        super().__init__(structure)
        self._token_ids = token_ids
        self.values: dict[str, Tensor] = {}
        # Why a site has no value, where that is known.
        self.refusals: dict[str, str] = {}
        self._capture: Capture | None = None

    def site(self, address: str, region: Region = ()) -> Tensor:
        if address not in self.values:
            raise UnknownAddress(address, self.refusals.get(address))
        return self.values[address][region]

    def shape(self, address: str) -> tuple[int, ...]:
        return tuple(self.site(address).shape)

    def token_ids(self) -> Tensor:
        return self._token_ids

    def first_positions(self) -> tuple[int, int]:
        return 0, 0

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        tables = None if self._capture is None else self._capture.rotary.get(block)
        if tables is None:
            raise UnknownAddress(f"q.{block}", "the model passes no rotary tables")
        return tables

    def mask(self, block: int, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        call = None if self._capture is None else self._capture.calls.get(block)
        if call is None:
            raise UnknownAddress(f"attn_scores.{block}", "the model passes no mask")
        return torch.isfinite(call.scores(rows, heads))
