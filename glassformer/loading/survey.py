"""Whether a model that lies on this machine opens and fits, known from its config and headers: no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassformer.errors import GlassformerError
from glassformer.files.size import format_bytes
from glassformer.loading.form.recognise import open_form
from glassformer.loading.memory import measure_room
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import WEIGHT_SHARE, plan_form


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: `reason` says why it does not open or fit; `needed_bytes` is None where it does not open."""

    opens: bool
    fits: bool | None = None
    needed_bytes: int | None = None
    reason: str = ""


def survey_place(
    place: Path, root: Path | None = None, options: LoadOptions | None = None, budget_bytes: int = 0
) -> Survey:
    """Whether the model in a folder or file opens and fits, into `budget_bytes` or the usual share of this machine."""
    try:
        form = open_form(place, root)
        plan = plan_form(options or LoadOptions(), form)
    except GlassformerError as error:
        return Survey(opens=False, reason=error.message)
    room = measure_room(plan.place)
    budget = budget_bytes or int(room.total_bytes * WEIGHT_SHARE.get(room.kind, 0.6))
    fits = plan.needed_bytes <= budget
    needed = format_bytes(plan.needed_bytes)
    return Survey(
        opens=True,
        fits=fits,
        needed_bytes=plan.needed_bytes,
        reason=""
        if fits
        else f"It needs {needed} of memory, and {format_bytes(budget)} are set aside for models.",
    )
