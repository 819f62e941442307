"""What a model makes of a whole text, as one vector: a site's rows, the last of them or their mean.

Give `Pooled` to a generation of no new tokens. Costs the forwards of a prompt, and keeps one row.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from glassformer.capture.capture import Capture, sift_addresses
from glassformer.errors import BadValue, ModelFailed
from glassformer.loading.loaded import LoadedModel

Pooling = Literal["last", "mean"]
# Sites whose rows are vectors of the model's width, one for each token; those with a block end in its number.
TEXT_SITES = ("final_norm", "embeddings", "resid_pre", "resid_post")


def check_site(loaded: LoadedModel, site: str) -> None:
    """Refuse a site that is no vector for each token in this model. Raises BadValue naming `site`."""
    point, _, block = site.partition(".")
    is_known = point in TEXT_SITES and bool(block) == point.startswith("resid")
    if is_known and block:
        is_known = block.isdecimal() and len(block) < 6 and int(block) < len(loaded.structure.blocks)
    if not is_known:
        last = len(loaded.structure.blocks) - 1
        raise BadValue(
            f"site is final_norm, embeddings, resid_pre.0 to resid_pre.{last} or resid_post.0 to resid_post.{last} "
            "here.",
            field="site",
        )
    refusals: dict[str, str] = {}
    if not sift_addresses(loaded.structure, [site], refusals):
        raise BadValue(f"This model has no {site}: {refusals[site]}.", field="site")


@dataclass
class Pooled:
    """Watches the forwards of a text and keeps what they make of it."""

    site: str
    pooling: Pooling
    is_alone = False
    _row: Tensor | None = None
    _count: int = 0
    _fault: str = field(default="")

    def wanted(self, count: int) -> frozenset[str]:
        return frozenset({self.site})

    def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
        return nullcontext()

    def see(self, capture: Capture | None, rows: slice, logits: Tensor) -> None:
        # Must not fail, others share the forward.
        found = None if capture is None else capture.read_rows(self.site, rows)
        if found is None or found.dim() != 2:
            self._fault = "its rows cannot be read"
            return
        if self.pooling == "last":
            self._row = found[-1].detach().to("cpu", torch.float32)
        else:
            total = found.detach().to("cpu", torch.float64).sum(0)
            self._row = total if self._row is None else self._row + total
            self._count += len(found)

    def adopt(self, other: object, count: int) -> bool:
        return False

    def read(self) -> Tensor:
        """Float32[Tensor, "d_model"], once the text has been read. Raises ModelFailed where it cannot be used."""
        if self._row is None:
            raise ModelFailed(
                f"This model's {self.site} cannot be pooled: {self._fault or 'nothing was read'}."
            )
        row = self._row if self.pooling == "last" else (self._row / self._count).float()
        if not bool(row.isfinite().all()):
            raise ModelFailed(f"What the model makes of the text at {self.site} is no finite number.")
        return row
