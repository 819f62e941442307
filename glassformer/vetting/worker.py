"""The process that stays warm: it has the libraries, reads nothing itself, and forks for each model that it is sent.

Started as a program of its own (`python -m glassformer.vetting.worker FD`), so whoever imports Glassformer needs no
`__main__` guard, and nothing of the server's memory is in it. `FD` is a socket; each message on it is one question as
JSON with the end of a channel for its answer. It ends with the socket.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from glassformer.errors import GlassformerError, ModelRefused
from glassformer.importing import import_torch

# What stands before a question: how many bytes it has.
LENGTH_BYTES = 4


def serve(control: socket.socket) -> None:
    """Answer until the other side is gone."""
    while True:
        length, channels, _, _ = socket.recv_fds(control, LENGTH_BYTES, 1)
        if not length:
            return
        question = control.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        if os.fork() == 0:
            control.close()
            # Not a way out: whatever happens, this process ends here.
            try:
                with socket.socket(fileno=channels[0]) as channel:
                    answer(json.loads(question), channel)
            finally:
                os._exit(0)
        for handle in channels:
            os.close(handle)


def answer(question: dict[str, Any], channel: socket.socket) -> None:
    """Read what is asked for and say what came of it."""
    from glassformer.vetting import look
    from glassformer.vetting.confine import confine

    def tell(**what: Any) -> None:
        channel.sendall(json.dumps(what).encode() + b"\n")

    tell(pid=os.getpid())
    confine(most_bytes=question["most_bytes"], most_secs=question["most_secs"])
    place, root = Path(question["place"]), question["root"]

    def on_part(part: str) -> None:
        tell(part=part)

    try:
        if question["kind"] == "config":
            look.look_at_config(place, on_part)
        elif question["kind"] == "adapter":
            look.look_at_adapter(place, on_part)
        else:
            look.look_at_model(place, None if root is None else Path(root), on_part)
    except BaseException as exc:
        if is_out_of_memory(exc):
            return  # as one that was ended
        known = exc if isinstance(exc, GlassformerError) else None
        error = known or ModelRefused(f"The model cannot be read ({type(exc).__name__}).")
        tell(error=type(error).__name__, message=error.message, field=error.field)
    else:
        tell(passed=True)


def is_out_of_memory(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, MemoryError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this one
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answered
    import_torch()
    from glassformer.vetting import look  # noqa: F401  (so that no answer waits for it)

    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control)


if __name__ == "__main__":
    main()
