"""What a part of a model is called here: where a tensor is read, which weights play a role, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a tensor can be read: a module and its input or (item of its) output."""

    module: nn.Module
    side: str
    item: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a role or tensor does not exist or cannot be read, in one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map and the run of its output features that plays the role.

    `transposed` says that the weight is stored [d_in, d_out] (GPT-2's Conv1D) instead of [d_out, d_in]. `rows` is for
    roles that take turns in one weight: [groups, units, first, count] (see `equation.list_rows`).
    """

    module: nn.Module
    transposed: bool
    start: int | None = None
    stop: int | None = None
    rows: tuple[int, int, int, int] | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other roles live in the same weight."""
        return self.stop is not None or self.rows is not None


@dataclass(frozen=True, slots=True)
class Experts:
    """The parts of a sparse block: what chooses, what is chosen from, and the dense branch beside them (if any)."""

    experts: nn.Module
    router: nn.Module | None
    shared: nn.Module | None
    shared_gate: nn.Module | None
    corrections: tuple[str, ...]


def is_transposed(module: nn.Module) -> bool:
    """Whether a linear map stores its weight [d_in, d_out]: transformers' Conv1D does."""
    return any(kind.__name__ == "Conv1D" for kind in type(module).__mro__)
