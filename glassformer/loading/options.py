"""How a model is to be loaded: what a server's settings say, or one load request instead of them. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """`device`, `dtype` and `quantize` with the values and the meaning of the settings of these names."""

    device: str = "auto"
    dtype: str = "auto"
    quantize: str = "none"

    @property
    def is_plain(self) -> bool:
        """Whether the weights are as a model's makers left them, which is known to work."""
        return self.dtype in ("auto", "float32") and self.quantize == "none"
