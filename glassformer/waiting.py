"""Whether anybody still waits for what a thread computes. Knows neither the threads nor what they compute.

Long answers are made in steps; between two of them `go_on` ends those whose client has left or was told that it takes
too long. Where nothing says who waits (a notebook, the command line), work goes on.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar

from glassformer.errors import NobodyWaits

left: ContextVar[threading.Event | None] = ContextVar("left", default=None)
"""Set for the thread that computes; it is set off once nobody waits for the answer."""


def go_on() -> None:
    """Raise NobodyWaits where nobody waits for what this thread computes."""
    event = left.get()
    if event is not None and event.is_set():
        raise NobodyWaits("Nobody waits for this answer any more.")
