"""The room a model needs and whether there is some, in numbers; where it is not there, what to say of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.errors import NoRoom
from glassformer.files.size import StoredTensor, format_bytes
from glassformer.importing import import_torch
from glassformer.loading.memory import Room
from glassformer.loading.options import LoadOptions

if TYPE_CHECKING:
    from glassformer.loading.form.form import Form
    from glassformer.loading.plan import Plan

# Share of the memory for weights where no number is set; the rest is for caches, recordings and other programs.
WEIGHT_SHARE = {"cpu": 0.6, "mps": 0.6, "cuda": 0.85}


def plan_form(options: LoadOptions, form: Form) -> Plan:
    """How a model that lies on a disk will be loaded. Raises as `plan_load`, ModelFailed as well."""
    from glassformer.loading.plan import plan_load

    return plan_load(form.read_config(), form.list_tensors(), options)


def plan_download(options: LoadOptions, config_path: Path, tensors: list[StoredTensor]) -> Plan:
    """How a model of the hub would be loaded, before its weights are fetched. Brings torch in. As `plan_form`."""
    import_torch()
    from glassformer.loading.config import read_config
    from glassformer.loading.plan import plan_load

    return plan_load(read_config(config_path), tensors, options)


def describe_no_room(needed_bytes: int, left_bytes: int, room: Room, *, is_held: bool) -> NoRoom:
    """Why a model does not fit now, with the numbers."""
    needed = f"The model needs about {format_bytes(needed_bytes)} of memory"
    if needed_bytes > left_bytes and is_held:
        reason = (
            f"{format_bytes(max(0, left_bytes))} are left while other models are in use, pinned or loading"
        )
    else:
        reason = f"only {format_bytes(room.free_bytes)} of this machine's are free now"
    return NoRoom(f"{needed}, and {reason}.", field="model_id", retry_after_secs=10)


def refuse_too_large(plan: Plan, budget_bytes: int) -> None:
    """Raise NoRoom for what would not fit even alone."""
    if plan.needed_bytes > budget_bytes:
        raise NoRoom(
            f"The model needs about {format_bytes(plan.needed_bytes)} of memory, "
            f"and {format_bytes(budget_bytes)} are set aside for models.",
            field="model_id",
            retry_after_secs=3600,
        )
