"""Names in a request that mean nothing here: told in a header of the answer, and once in the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping

import structlog

log = structlog.get_logger(__name__)

HEADER = "X-Glassformer-Ignored"
# More are counted, not told: a header has to stay short.
MOST_TOLD = 20
# Names remembered as logged, and logged at all: a client that sends ever new ones must fill neither memory nor log.
MOST_REMEMBERED = 1000
TELLABLE = re.compile(r"[\w.$-]{1,64}", re.ASCII)

_logged: set[str] = set()
_lock = threading.Lock()


def ignored_header(names: Iterable[str]) -> Mapping[str, str]:
    """The header that tells of `names`, none where there are none; those not met before are logged, too."""
    tellable = [name if TELLABLE.fullmatch(name) else "?" for name in names]
    if not tellable:
        return {}
    with _lock:
        new = [name for name in dict.fromkeys(tellable) if name not in _logged][:MOST_TOLD]
        if len(_logged) + len(new) > MOST_REMEMBERED:
            new = []
        _logged.update(new)
    if new:
        log.info("a request has fields that mean nothing here; they are ignored", fields=new)
    told = tellable[:MOST_TOLD]
    if len(tellable) > MOST_TOLD:
        told.append(f"and {len(tellable) - MOST_TOLD} more")
    return {HEADER: ", ".join(told)}
