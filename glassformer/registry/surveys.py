"""What is known of models before they are loaded, kept for as long as their files stay as they are."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.importing import is_imported
from glassformer.loading.options import LoadOptions

if TYPE_CHECKING:
    from glassformer.loading.survey import Survey

MOST_KEPT = 1000
# What one list of models may wait for those that are new to it; the rest are looked at for the next.
PATIENCE_SECS = 0.5


class Surveys:
    """Surveys of models on this machine. Any thread; brings no torch in."""

    def __init__(self, options: LoadOptions, budget_bytes: int) -> None:
        self.options = options
        self.budget_bytes = budget_bytes
        self._kept: dict[Path, tuple[int, Survey]] = {}
        self._lock = threading.Lock()

    def begin(self) -> float:
        """Until when a list may wait."""
        return time.monotonic() + PATIENCE_SECS

    def find(self, place: Path | None, root: Path | None, until_secs: float) -> Survey | None:
        """What is known of the model in `place`; None where that is still to be found out."""
        try:
            changed_ns = place.stat().st_mtime_ns if place is not None else 0
        except OSError:
            return None
        if place is None:
            return None
        with self._lock:
            changed, found = self._kept.get(place, (0, None))
        if found is not None and changed == changed_ns:
            return found
        # Reading a config takes the library, which takes seconds to come in.
        if not is_imported() or time.monotonic() > until_secs:
            return None
        from glassformer.loading.survey import survey_place

        found = survey_place(place, root, self.options, self.budget_bytes)
        with self._lock:
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = (changed_ns, found)
        return found
