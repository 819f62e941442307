"""Interventions as one writes them in Python: `change("z.2", "zero", head=3)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from glassformer.errors import BadValue
from glassformer.protocol.messages import Intervention
from glassformer.protocol.parse import parse

Operation = Literal["zero", "scale", "set", "add"]


def change(address: str, operation: Operation, value: Any = None, **index: Any) -> Intervention:
    """An intervention for `Model.trace`: on `address`, at the places given by axis name.

    `change("z.2", "zero", head=3)`, `change("mlp_out.1", "scale", 0.5, pos=slice(10, None))`,
    `change("resid_post.3", "add", vector)`. A place is a number, a list of them or a slice; axes left out are whole.
    Raises BadValue.
    """
    places = {axis: as_places(axis, chosen) for axis, chosen in index.items()}
    return parse(
        Intervention,
        {"address": address, "operation": operation, "value": as_numbers(value), "index": places},
    )


def as_places(axis: str, chosen: Any) -> Any:
    if isinstance(chosen, slice):
        if chosen.step not in (None, 1):
            raise BadValue(f"{axis} takes a slice without a step, or a list.", field=axis)
        return {"start": chosen.start or 0, "stop": chosen.stop}
    plain = as_numbers(chosen)
    return plain if isinstance(plain, (list, dict)) else [plain]


def as_numbers(value: Any) -> Any:
    """Arrays, tensors and ranges as plain lists; anything else as it is, for the message to judge."""
    if hasattr(value, "detach"):
        value = value.detach().to("cpu").double() if value.is_floating_point() else value.detach().cpu()
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def as_interventions(given: Sequence[Intervention | Mapping[str, Any]] | Intervention) -> list[Any]:
    """What a message takes; one intervention needs no list around it."""
    found = [given] if isinstance(given, Intervention) else list(given)
    return [one.model_dump() if isinstance(one, Intervention) else one for one in found]
