"""What is known of models before they are loaded, kept for as long as their files stay as they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.files.state import Kept, read_state
from glassformer.importing import is_imported
from glassformer.loading.options import LoadOptions

if TYPE_CHECKING:
    from glassformer.files.catalog import ModelSource
    from glassformer.loading.survey import Survey

# What one list of models may wait for those that are new to it; the rest are looked at for the next.
PATIENCE_SECS = 0.5


class Surveys:
    """Surveys of models on this machine. Any thread; brings no torch in."""

    def __init__(self, options: LoadOptions, budget_bytes: int) -> None:
        self.options = options
        self.budget_bytes = budget_bytes
        self._kept: Kept[Survey] = Kept()

    def begin(self) -> float:
        """Until when a list may wait."""
        return time.monotonic() + PATIENCE_SECS

    def find(self, source: ModelSource, place: Path | None, until_secs: float) -> Survey | None:
        """What is known of a model whose weights are in `place`; None where that is still to be found out."""
        places = [
            one for one in (place, source.folder if source.base is not None else None) if one is not None
        ]
        state = tuple(map(read_state, places))
        if not places or None in state:
            return None
        key = (*places, (source.base or source).root, source.root)
        found = self._kept.find(key, state)
        # Reading a config takes the library, which takes seconds to come in.
        if found is not None or not is_imported() or time.monotonic() > until_secs:
            return found
        from glassformer.loading.survey import survey_source

        found = survey_source(source, place, self.options, self.budget_bytes)
        self._kept.keep(key, state, found)
        return found
