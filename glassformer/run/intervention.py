"""Changing a site while the model runs: zero, scale, set or add, on the cells named, in the model's own forward.

An intervention is data (`protocol/messages.py`) and part of a recording: hooks apply it whenever the model runs for
that recording, so that what is generated, recorded, made again and materialised is the intervened run. Only points
that all later computation reads through one module boundary can be changed. Costs a copy of the changed tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from glassformer.capture.capture import Capture, locate
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.errors import BadValue, UnknownAddress
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Site
from glassformer.protocol.messages import Intervention, Span
from glassformer.run.recording import Recording
from glassformer.structure.residual import first_tensor
from glassformer.structure.role import Hook, Refusal
from glassformer.structure.structure import Structure

# Points whose tensor nothing reads but through the boundary where it is changed.
CHANGEABLE = ("resid_pre", "z", "attn_out", "mlp_act", "mlp_out", "resid_post")


class Intervened:
    """A watcher whose forwards are changed first and recorded then; its sequence has them for itself."""

    is_alone = True

    def __init__(
        self, recording: Recording, structure: Structure, interventions: Sequence[Intervention]
    ) -> None:
        self._recording = recording
        self._edits = make_edits(structure, interventions)

    def wanted(self, count: int) -> frozenset[str]:
        return self._recording.wanted(count)

    @contextmanager
    def watch(self, rows: slice, start: int, stop: int) -> Iterator[None]:
        # The edits first: hooks run in the order of registration, and the recording is to see what they leave.
        with editing(self._edits, start, stop), self._recording.watch(rows, start, stop):
            yield

    def see(self, capture: Capture | None, rows: slice, logits: Tensor) -> None:
        self._recording.see(capture, rows, logits)

    def adopt(self, other: object, count: int) -> bool:
        """Never: what another run computed was not changed."""
        return False


@contextmanager
def applied(
    structure: Structure, interventions: Sequence[Intervention], start: int, stop: int
) -> Iterator[None]:
    """Apply `interventions` to every forward inside, which computes positions `start` to `stop` of one sequence."""
    with editing(make_edits(structure, interventions), start, stop):
        yield


class Change(Protocol):
    """A change of what a module is handed, or gives."""

    @property
    def place(self) -> Hook:
        """Where."""

    def change(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """A changed copy of the module's tensor in a forward of positions `start` to `stop`."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One intervention with the module it acts on. `heads` is their number where the tensor holds them side by side."""

    intervention: Intervention
    place: Hook
    heads: int | None
    value: Tensor | None = field(repr=False)

    def change(self, tensor: Tensor, start: int, stop: int) -> Tensor:
        """A changed copy of the module's tensor, [1, pos, feature] or [pos, feature], whose last rows are the run's."""
        index = self.intervention.index
        places = select(index.get("pos"), start, stop)
        if not len(places):
            return tensor
        changed = tensor.clone(memory_format=torch.contiguous_format)
        rows = changed.view(-1, changed.shape[-1])[-(stop - start) :]
        cells = rows.view(stop - start, self.heads, -1) if self.heads else rows
        features = ["head", "d_head"] if self.heads else [axis for axis in index if axis != "pos"] or [""]
        chosen = [
            select(index.get(axis), 0, size) for axis, size in zip(features, cells.shape[1:], strict=True)
        ]
        chosen = [which.to(cells.device) for which in (places, *chosen)]
        grid = torch.meshgrid(*chosen, indexing="ij")
        cells[grid] = self._compute(cells[grid])
        return changed

    def _compute(self, cells: Tensor) -> Tensor:
        if self.value is None:
            return torch.zeros_like(cells)
        value = self.value.to(cells.device, cells.dtype)
        match self.intervention.operation:
            case "scale":
                return cells * value
            case "add":
                return cells + value
        return value.expand_as(cells)


def select(chosen: list[int] | Span | None, start: int, stop: int) -> Tensor:
    """Offsets from `start` of the chosen places among `start` to `stop`; None chooses all."""
    if isinstance(chosen, list):
        return torch.tensor(
            sorted({place - start for place in chosen if start <= place < stop}), dtype=torch.long
        )
    first = max(start, chosen.start) if chosen else start
    last = stop if chosen is None or chosen.stop is None else min(stop, chosen.stop)
    return torch.arange(first - start, max(first, last) - start)


def make_edits(structure: Structure, interventions: Sequence[Intervention]) -> list[Edit]:
    """The interventions with their places. Raises UnknownAddress where the model has no such boundary."""
    edits = []
    for intervention in interventions:
        point, block = split_address(intervention.address)
        place = locate(structure, point, block)
        if isinstance(place, Refusal):
            raise UnknownAddress(intervention.address, place.reason)
        value = None if intervention.value is None else torch.tensor(intervention.value, dtype=torch.float64)
        edits.append(Edit(intervention, place, structure.arch.n_heads if point == "z" else None, value))
    return edits


@contextmanager
def editing(edits: Sequence[Change], start: int, stop: int) -> Iterator[None]:
    """Hook the edits in, in their order."""
    with ExitStack() as stack:
        for edit in edits:
            register = register_input if edit.place.side == "input" else register_output
            stack.callback(register(edit, start, stop).remove)
        yield


def register_input(edit: Change, start: int, stop: int) -> Any:
    def before(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (edit.change(args[0], start, stop), *args[1:]), kwargs
        given = first_tensor(kwargs)
        name = next(name for name, value in kwargs.items() if value is given)
        return args, {**kwargs, name: edit.change(given, start, stop)}

    return hook_input(edit.place.module, before)


def register_output(edit: Change, start: int, stop: int) -> Any:
    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, (tuple, list)):
            return edit.change(output, start, stop)
        item = edit.place.item
        changed = edit.change(output[item], start, stop)
        return type(output)((*output[:item], changed, *output[item + 1 :]))

    return hook_output(edit.place.module, after)


# --- what belongs to which block -------------------------------------------------------------------


def inside_block(interventions: Sequence[Intervention], block: int) -> list[Intervention]:
    """Those to apply when a block runs again from its recorded input, which already holds the changes to itself."""
    places = {f"{point}.{block}" for point in CHANGEABLE if point != "resid_pre"}
    return [intervention for intervention in interventions if intervention.address in places]


def change_input(
    structure: Structure, interventions: Sequence[Intervention], block: int, residual: Tensor
) -> Tensor:
    """What a block reads, if `residual` [pos, d_model] is what the block before it left."""
    wanted = [given for given in interventions if given.address == f"resid_pre.{block}"]
    for edit in make_edits(structure, wanted):
        residual = edit.change(residual, 0, residual.shape[0])
    return residual


# --- checking --------------------------------------------------------------------------------------


def check_interventions(
    structure: Structure, sites: Mapping[str, Site], interventions: Sequence[Intervention], *, context: int
) -> None:
    """Refuse what cannot be applied. Raises UnknownAddress and BadValue, naming the field."""
    for number, intervention in enumerate(interventions):
        name = f"interventions.{number}"
        site = check_address(structure, sites, intervention.address, f"{name}.address")
        for axis, chosen in intervention.index.items():
            if axis not in site.axes:
                axes = ", ".join(site.axes)
                raise BadValue(f"{site.address} has the axes {axes}, and no {axis!r}.", field=f"{name}.index")
            size = site.shape[site.axes.index(axis)]
            check_places(chosen, context if size is None else size, f"{name}.index.{axis}")
        width = count_places(intervention.index.get(site.axes[-1]), site.shape[-1] or 0)
        check_operand(intervention, width, structure.model.dtype, f"{name}.value")


def check_address(structure: Structure, sites: Mapping[str, Site], address: str, name: str) -> Site:
    site = sites.get(address)
    if site is None:
        raise UnknownAddress(address, field=name)
    if site.point not in CHANGEABLE or site.block is None:
        allowed = ", ".join(f"{point}.B" for point in CHANGEABLE)
        raise UnknownAddress(
            address, f"{address} cannot be changed; what can is {allowed} of a block B.", field=name
        )
    if site.check.status == "refused":
        raise UnknownAddress(address, f"{address} is refused: {site.check.reason}.", field=name)
    place = locate(structure, site.point, site.block)
    if isinstance(place, Refusal):
        raise UnknownAddress(address, f"{address} cannot be changed: {place.reason}.", field=name)
    for other in range(len(structure.blocks)):
        elsewhere = locate(structure, site.point, other) if other != site.block else None
        if isinstance(elsewhere, Hook) and elsewhere.module is place.module:
            reason = f"{address} cannot be changed alone: block {other} runs the same module."
            raise UnknownAddress(address, reason, field=name)
    return site


def check_places(chosen: list[int] | Span, size: int, name: str) -> None:
    if isinstance(chosen, Span):
        stop = size if chosen.stop is None else chosen.stop
        if not 0 <= chosen.start < stop <= size:
            raise BadValue(f"{name} must be a span inside 0 to {size}.", field=name)
        return
    if not chosen:
        raise BadValue(f"{name} is empty; leave it out to choose all.", field=name)
    if not all(0 <= place < size for place in chosen):
        raise BadValue(f"{name} takes the indices 0 to {size - 1}.", field=name)


def count_places(chosen: list[int] | Span | None, size: int) -> int:
    return len(select(chosen, 0, size))


def check_operand(intervention: Intervention, width: int, dtype: torch.dtype, name: str) -> None:
    operation, value = intervention.operation, intervention.value
    if operation == "zero":
        if value is not None:
            raise BadValue("zero takes no value.", field=name)
        return
    if value is None:
        raise BadValue(f"{operation} needs a value.", field=name)
    if isinstance(value, list):
        if operation == "scale":
            raise BadValue("scale takes one number.", field=name)
        if len(value) != width:
            raise BadValue(
                f"value has {len(value)} numbers, and the chosen features are {width}.", field=name
            )
    largest = torch.finfo(dtype).max
    numbers = value if isinstance(value, list) else [value]
    if not all(math.isfinite(number) and abs(number) <= largest for number in numbers):
        raise BadValue(f"value must be finite and within {largest:.3g}, as the model counts.", field=name)
