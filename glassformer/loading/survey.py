"""Whether a model that lies on this machine opens and fits, known from its config and headers: no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassformer.errors import GlassformerError
from glassformer.files.adapter import check_adapter
from glassformer.files.catalog import ModelSource
from glassformer.files.size import format_bytes
from glassformer.loading.form.recognise import open_form
from glassformer.loading.memory import measure_room
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import WEIGHT_SHARE, plan_form


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: `reason` says why it does not open or fit; `needed_bytes` is None where it does not open.

    `opens` is None for an adapter whose base is not here to be asked.
    """

    opens: bool | None
    fits: bool | None = None
    needed_bytes: int | None = None
    reason: str = ""


def survey_source(
    source: ModelSource, place: Path | None, options: LoadOptions | None = None, budget_bytes: int = 0
) -> Survey:
    """As `survey_place`, of a source whose weights, of an adapter its base's, are in `place`.

    An adapter opens where its base does and it is one that can be laid over a base.
    """
    base = source.base
    if base is None:
        assert place is not None
        return survey_place(place, source.root, options, budget_bytes)
    assert source.folder is not None
    try:
        check_adapter(source.folder, source.root)
    except GlassformerError as error:
        return Survey(opens=False, reason=error.message)
    if place is None:
        return Survey(opens=None, reason=f"The adapter's base {base.model_id!r} is not on this machine.")
    found = survey_place(place, base.root, options, budget_bytes)
    if found.opens:
        return found
    return Survey(
        opens=False, reason=f"The adapter's base {base.model_id!r} cannot be loaded: {found.reason}"
    )


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
