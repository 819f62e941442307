"""What a process that reads a stranger's files may take: memory, time, and nothing outside this machine.

Limits of the system, which end native code as well. Where it has none for memory (macOS), time alone ends a process.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

# What opens a connection or starts a program, by Python's names of it (docs.python.org/3/library/audit_events.html).
SHUT = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
)


def confine(*, most_bytes: int, most_secs: float) -> None:
    """From now on this process may take so many bytes more, and is ended after so many seconds, for good."""
    held = read_held_bytes()
    if held is not None:
        resource.setrlimit(resource.RLIMIT_AS, (held + most_bytes, held + most_bytes))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    cpu_secs = int(used + most_secs) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_secs, cpu_secs))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, most_secs)
    sys.addaudithook(refuse_shut)


def refuse_shut(event: str, args: tuple[Any, ...]) -> None:
    if event in SHUT:
        raise PermissionError("A model that is being read asks for nothing outside its folder.")


def read_held_bytes() -> int | None:
    """Bytes of addresses that this process has, where the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
