"""A second model over the weights of one in memory, some of whose matrices are changed by adapters.

Modules that hold a change, and those around them, are copied; all others, and every weight, are the same objects. So
the base computes what it always did, to the bit and at the same speed, whatever lies over it, and nothing of two
adapters can meet in one forward. Both are run under the base's lock.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from glassformer.compute.compiled import CompiledForward
from glassformer.compute.linear import share_products
from glassformer.compute.quantize import find_whole_shape
from glassformer.compute.quantized_linear import FromWhole


@dataclass(frozen=True, slots=True)
class Change:
    """What an adapter adds to a linear map: `scale` B(A x), with A [rank, d_in] and B [d_out, rank]."""

    a: Tensor
    b: Tensor
    scale: float
    bias: Tensor | None = None


class Changed(nn.Module):
    """What linear maps with an adapter have in common: their own weight and bias, and `lora_A` and `lora_B` beside.

    The product with the weight is left to the map that holds it, which may know quicker ways.
    """

    lora_A: nn.Linear  # noqa: N815  # as peft calls it, so that weights have the names that others know
    lora_B: nn.Linear  # noqa: N815
    scaling: float

    @classmethod
    def over(cls, base: nn.Module, change: Change) -> Changed:
        """`base` with a change, sharing its weights."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        for name, value in vars(base).items():
            if not name.startswith("_") and name != "forward":
                made.__dict__[name] = value
        made._parameters = dict(base._parameters)
        made._buffers = dict(base._buffers)
        # Not as a child: its parameters are these, and would be listed twice.
        made.__dict__["base"] = base
        made.lora_A, made.lora_B = hold(change.a), hold(change.b, change.bias)
        made.scaling = change.scale
        return made.eval()

    def forward(self, given: Tensor) -> Tensor:
        """`given` is [..., d_in]."""
        found: Tensor = self.__dict__["base"](given)
        return (found + self.add(given)).to(found.dtype)

    def add(self, given: Tensor) -> Tensor:
        """What the adapter adds, s B(A x)."""
        low = self.lora_A(given.to(self.lora_A.weight.dtype))
        added: Tensor = self.lora_B(low) * self.scaling
        return added


class ChangedLinear(Changed, nn.Linear):
    """A linear map with an adapter."""


class ChangedConv1D(Changed, Conv1D):
    """GPT-2's, whose weight is [d_in, d_out]."""


def hold(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear map of these weights."""
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear.eval()


def find_sizes(module: nn.Module) -> tuple[int, int] | None:
    """Features that a linear map reads and gives; None for a module that is none."""
    weight = getattr(module, "weight", None)
    if not isinstance(module, (nn.Linear, Conv1D)) or not isinstance(weight, Tensor):
        return None
    shape = find_whole_shape(weight)
    return (shape[0], shape[1]) if isinstance(module, Conv1D) else (shape[1], shape[0])


def lay_over(model: Any, changes: Mapping[str, Change], replaced: Mapping[str, Tensor]) -> Any:
    """A model like `model` over the same weights, with `changes` by the names of linear maps.

    `replaced` are whole parameters by their names that it has instead. The caller holds the model's lock: nobody's
    hooks are on its modules then.
    """
    own: dict[str, nn.Module] = {}
    for name, change in changes.items():
        base = model.get_submodule(name)
        own[name] = (ChangedConv1D if isinstance(base, Conv1D) else ChangedLinear).over(base, change)
    for name, value in replaced.items():
        holder, _, which = name.rpartition(".")
        if holder not in own:
            own[holder] = copy_leaf(model.get_submodule(holder))
        own[holder]._parameters[which] = nn.Parameter(value, requires_grad=False)
        if isinstance(own[holder], Changed):
            base = own[holder].__dict__["base"] = copy_leaf(own[holder].__dict__["base"])
            base._parameters[which] = own[holder]._parameters[which]
    put_inside(own)
    return replace_modules(model, own)


def put_inside(own: dict[str, nn.Module]) -> None:
    """Put modules that have a place in another of these into it; what lies between is copied, the innermost first."""
    for name in sorted(own, key=lambda name: -name.count(".")):
        steps = name.split(".")
        around = [".".join(steps[:depth]) for depth in range(len(steps)) if name]
        holder = next((each for each in reversed(around) if each in own), None)
        if holder is None:
            continue
        place = own[holder]
        *between, last = name.removeprefix(holder).strip(".").split(".")
        for step in between:
            inner = place._modules[step] = copy_leaf(place.get_submodule(step))
            place = inner
        place._modules[last] = own[name]


def replace_modules(model: Any, own: Mapping[str, nn.Module]) -> Any:
    """A model like `model` over the same weights, with modules of its own in the places of these names.

    What these lie in is copied, all else is the same. The caller holds the lock.
    """
    around = {".".join(name.split(".")[:depth]) for name in own for depth in range(name.count(".") + 1)}
    memo: dict[int, Any] = {id(model.config): model.config}
    forwards: list[str] = []
    for name, module in model.named_modules():
        if name in own:
            memo[id(module)] = own[name]
        elif name not in around:
            memo[id(module)] = module
        else:
            memo |= {id(value): value for value in (*module._parameters.values(), *module._buffers.values())}
            if isinstance(vars(module).get("forward"), CompiledForward):
                memo[id(module.forward)] = module.forward
                forwards.append(name)
    made = copy.deepcopy(model, memo)
    for name in forwards:
        # Compiled from the base's weights.
        del vars(made.get_submodule(name))["forward"]
    share_products(made, model)
    return made


def copy_leaf(module: nn.Module) -> Any:
    """A module of the same kind with the same weights, without shortcuts that were made from them."""
    made = module.__class__.__new__(module.__class__)
    # Its tables of hooks, parameters and modules are its own, what they hold is not.
    made.__dict__.update(
        {
            key: copy.copy(value) if isinstance(value, dict) else value
            for key, value in vars(module).items()
            if key != "forward"
        }
    )
    forward = getattr(vars(module).get("forward"), "__self__", None)
    if isinstance(forward, FromWhole):
        made.forward = FromWhole(made).compute
    return made


# --- several adapters in one forward ------------------------------------------------------------------


class NotMixable(Exception):
    """Rows of several adapters cannot share a forward: a changed map is not given each of them once, in order."""


_local = threading.local()


@contextmanager
def mixing(rows: Sequence[tuple[slice, int]], count: int) -> Iterator[None]:
    """Let this thread's forwards of a mixed model inside compute `count` rows, each run of them with its own adapter.

    An adapter is known by its place among those that the model was mixed from.
    """
    _local.rows, _local.count = rows, count
    try:
        yield
    finally:
        del _local.rows, _local.count


class Mixed(nn.Module):
    """A linear map with the changes of several adapters, each for its own rows."""

    def __init__(self, base: nn.Module, changes: Mapping[int, Changed]) -> None:
        super().__init__()
        self.base = base
        # Not as children: they are those of the adapters' own models.
        self.__dict__["changes"] = dict(changes)

    def forward(self, given: Tensor) -> Tensor:
        """`given` is [..., row, d_in], the rows as `mixing` says."""
        found: Tensor = self.base(given)
        before, after = given.reshape(-1, given.shape[-1]), found.view(-1, found.shape[-1])
        if len(before) != _local.count:
            raise NotMixable
        for rows, place in _local.rows:
            change = self.__dict__["changes"].get(place)
            if change is not None:
                after[rows] = (after[rows] + change.add(before[rows])).to(found.dtype)
        return found


def mix(base: Any, models: Sequence[Any]) -> Any:
    """A model over the weights of `base` whose rows have the adapter of one of `models` each, or none.

    Raises NotMixable where one of them brings whole parameters of its own, or changes what is given chosen rows alone.
    The caller holds the lock.
    """
    plain = dict(base.named_parameters(remove_duplicate=False))
    changes: dict[str, dict[int, Changed]] = {}
    for place, model in enumerate(models):
        own = model.named_parameters(remove_duplicate=False)
        if any(plain.get(name) is not value for name, value in own if ".lora_" not in name):
            raise NotMixable
        for name, module in model.named_modules():
            if isinstance(module, Changed):
                changes.setdefault(name, {})[place] = module
    if any("expert" in name for name in changes):
        raise NotMixable
    return replace_modules(
        base, {name: Mixed(base.get_submodule(name), found) for name, found in changes.items()}
    )
