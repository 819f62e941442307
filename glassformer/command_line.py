"""The command `glassformer`: whatever terminal, pipe or key it meets, it ends without a traceback.

Imports nothing before it listens for an interruption: that may come at any moment.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

# What a shell says of a program that an interruption ended: 128 and the signal's number.
INTERRUPTED = 128 + signal.SIGINT


class Interruption:
    """Whether somebody has pressed Ctrl-C."""

    has_come = False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.has_come = True
        raise KeyboardInterrupt


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    interruption = Interruption()
    signal.signal(signal.SIGINT, interruption)
    code: int | str | None = 0
    try:
        soften_output()
        from glassformer.cli import app

        app()
    except SystemExit as exit_:
        code = exit_.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        code = tell_lost_output(error)
    # A second one would only interrupt the leaving.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        code = tell_lost_output(error)
    if interruption.has_come and code in (1, INTERRUPTED):
        # At once: threads may be in the middle of a forward, and the interpreter would pull it from under them.
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        os._exit(INTERRUPTED)
    sys.exit(code)


def soften_output() -> None:
    """What a terminal cannot write becomes a question mark there; a program that reads a pipe decides for itself."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def tell_lost_output(error: Exception) -> int:
    """The exit code where the output could not be written; says why, but to who stopped reading."""
    with suppress(OSError, ValueError):
        if not isinstance(error, BrokenPipeError):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is closed"
            sys.stderr.write(f"glassformer: The output could not be written: {reason}.\n")
    # What is left in its buffer would be tried again, and told of, when the interpreter ends.
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
