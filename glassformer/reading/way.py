"""Which way of climbing a model allows: found out by trying it on its recording, never by the model's name."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

from torch import Tensor

from glassformer.compute.likeness import is_rounding, measure_change
from glassformer.compute.shortage import is_shortage
from glassformer.errors import NobodyWaits, UnknownTrace
from glassformer.loading.loaded import LoadedModel
from glassformer.reading.climb import Climb, PackedClimb, Trial, WholeClimb, climb, finish
from glassformer.reading.recorded_text import RecordedText

log = logging.getLogger(__name__)

# Why rows of these models cannot climb together; None where they can.
_packed_faults: WeakKeyDictionary[LoadedModel, str | None] = WeakKeyDictionary()


def choose_way(text: RecordedText, logits: Tensor) -> Climb:
    """All rows together, or one by one where two unchanged ones that climb together do not come out as recorded.

    That is tried once for a model. `logits` [vocab] are those recorded at the position.
    """
    loaded = text.loaded
    if loaded not in _packed_faults:
        fault = loaded.packing_fault
        _packed_faults[loaded] = try_packed(text, logits) if fault is None else fault
        if _packed_faults[loaded] is not None:
            log.info("parts of %s are tested one by one: %s", loaded.model_id, _packed_faults[loaded])
    return WholeClimb(text) if _packed_faults[loaded] is not None else PackedClimb(text)


def try_packed(text: RecordedText, logits: Tensor) -> str | None:
    """Why two unchanged rows that climb together do not come out as recorded; None where they do.

    Raises UnknownTrace where the run is deleted meanwhile, NobodyWaits, and what a lack of memory raises: none of
    these is the model's fault.
    """
    try:
        way = PackedClimb(text)
        _, stream = climb(way, 0, lambda block, _: [] if block else [Trial(), Trial()])
        return find_change(way, stream, logits)
    except Exception as exc:
        if isinstance(exc, UnknownTrace | NobodyWaits) or is_shortage(exc):
            raise
        log.debug("a packed climb failed", exc_info=exc)
        return f"a packed climb fails ({type(exc).__name__})"


def find_change(way: Climb, stream: Tensor, logits: Tensor) -> str | None:
    """How the logits of unchanged rows [row, d_model] differ by more than rounding from those recorded; None if not."""
    dtype = way.text.loaded.dtype
    for found in finish(way, stream):
        change = measure_change(found, logits.expand_as(found))
        if not is_rounding(change, dtype):
            return f"run again, unchanged, its blocks change its logits by {change:.2g} of their size"
    return None
