"""Operands that are tensors in memory. Asking for what only a running model has is remembered."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from glassformer.operation.operands import Region


@dataclass
class MemoryOperands:
    """See `Operands`. `blocks` of rotary tables, of masks and of activations are numbered on their own."""

    tokens: list[int]
    sites: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    tables: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    functions: list[nn.Module] = field(default_factory=list)
    needed_model: bool = False

    def site(self, address: str, region: Region = ()) -> Tensor:
        return self.sites[address][region]

    def shape(self, address: str) -> tuple[int, ...]:
        return tuple(self.sites[address].shape)

    def weight(self, name: str) -> Tensor:
        """A parameter, or a buffer, which no export holds."""
        if name in self.weights:
            return self.weights[name]
        self.needed_model = True
        return self.buffers[name]

    def is_rounded(self, name: str) -> bool:
        return False

    def token_ids(self) -> Tensor:
        return torch.tensor(self.tokens)

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        return self.tables[block]

    def first_positions(self) -> tuple[int, int]:
        return 0, 0

    def mask(self, block: int, rows: slice = slice(None), heads: slice = slice(None)) -> Tensor:
        self.needed_model = True
        return self.masks[block][heads, rows]

    def activate(self, block: int, x: Tensor) -> Tensor:
        """One with parameters of its own is the model's alone."""
        module = self.functions[block]
        self.needed_model |= any(True for _ in module.parameters())
        with torch.inference_mode():
            return module(x)

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        """Experts that multiply what they read by one more than their number."""
        self.needed_model = True
        x, chosen, weights = given
        return x.double() * ((chosen + 1) * weights).sum(dim=1, keepdim=True)
