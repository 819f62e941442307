"""Whether a model may be let in: asked of a process that can be ended, never found out in this one.

The process that answers is started with the first question and kept, since the libraries take seconds to come in; for
each question it forks, which takes about ten milliseconds. What does not come back in time or takes too much memory is
ended with its process, and nothing else is.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from glassformer import errors
from glassformer.errors import ModelFailed, ModelRefused
from glassformer.files.size import format_bytes

# What reading a model without its weights may take. The largest vocabularies need a tenth of either.
MOST_BYTES = 3 * 2**30
MOST_SECS = 60.0
# For a config alone, which is asked for in passing.
MOST_CONFIG_BYTES = 2**30
MOST_CONFIG_SECS = 10.0
# How long the libraries may take to come in, on a machine with much else to do.
STARTING_SECS = 120.0
# How often whoever waits looks whether it is still wanted.
LOOKING_SECS = 0.1
ERRORS = {name: getattr(errors, name) for name in ("ModelRefused", "ModelFailed", "BadValue")}

Kind = Literal["model", "config", "adapter"]


class Vetter:
    """The process that reads strangers' models, started when it is first needed. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def vet(
        self,
        kind: Kind,
        place: Path,
        root: Path | None = None,
        *,
        most_bytes: int = MOST_BYTES,
        most_secs: float = MOST_SECS,
        look_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Return where the model in `place` may be let in.

        `look_up` is called now and then and ends the wait by raising. Raises ModelRefused for what it is refused for
        or takes too much, ModelFailed where the process cannot be had.
        """
        question = {
            "kind": kind,
            "place": str(place.absolute()),
            "root": None if root is None else str(root.absolute()),
            "most_bytes": most_bytes,
            "most_secs": most_secs,
        }
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._send(json.dumps(question).encode(), theirs)
            told: dict[str, Any] = {}
            try:
                for line in read_lines(ours, STARTING_SECS + most_secs, look_up):
                    told |= json.loads(line)
            except BaseException:
                end(told.get("pid"))
                raise
        judge(told, most_bytes=most_bytes, most_secs=most_secs)

    def start(self) -> None:
        """Have the process come up while something else is waited for."""
        with self._lock:
            self._find_control()

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _send(self, question: bytes, channel: socket.socket) -> None:
        with self._lock:
            try:
                control = self._find_control()
                socket.send_fds(control, [len(question).to_bytes(4, "big")], [channel.fileno()])
                control.sendall(question)
            except OSError as exc:
                raise ModelFailed("The process that reads models cannot be reached; try again.") from exc

    def _find_control(self) -> socket.socket:
        """The way to a process that is there. With the lock held."""
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (a module of our own)
                [sys.executable, "-P", "-m", "glassformer.vetting.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = ours
        return ours


def make_environment() -> dict[str, str]:
    """This process's, without what reaches out, and with one thread: nothing there is computed."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {key: value for key, value in os.environ.items() if "TOKEN" not in key and "API_KEY" not in key}
    return kept | {
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def read_lines(channel: socket.socket, most_secs: float, look_up: Callable[[], None]) -> Iterator[bytes]:
    """The lines that come until the other side ends or the time is over."""
    channel.settimeout(LOOKING_SECS)
    until_secs = time.monotonic() + most_secs
    kept = b""
    while time.monotonic() < until_secs:
        look_up()
        try:
            piece = channel.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionError:
            return
        if not piece:
            return
        *lines, kept = (kept + piece).split(b"\n")
        yield from lines
    raise ModelFailed("The process that reads models does not answer; try again.")


def end(pid: int | None) -> None:
    """End the process that reads one model. It still holds its end of the channel, so the number is still its own."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def judge(told: dict[str, Any], *, most_bytes: int, most_secs: float) -> None:
    """Raise what was told, or what is known of one that ended without a word."""
    if told.get("passed"):
        return
    if "error" in told:
        raise ERRORS.get(told["error"], ModelRefused)(told["message"], field=told["field"])
    if "pid" not in told:
        raise ModelFailed("The process that reads models ended; try again.")
    part = told.get("part", "config")
    raise ModelRefused(
        f"The model's {part} takes more than {format_bytes(most_bytes)} of memory or {most_secs:.0f} s to be read, so "
        "the model is not opened."
    )


VETTER = Vetter()
"""The one of this process."""
atexit.register(VETTER.close)


def vet_model(place: Path, root: Path | None, look_up: Callable[[], None] = lambda: None) -> None:
    """Raise unless a whole model may be loaded. As `Vetter.vet`."""
    VETTER.vet("model", place, root, look_up=look_up)


def vet_config(place: Path) -> None:
    """Raise unless a config, or a GGUF's header, may be read. As `Vetter.vet`."""
    VETTER.vet("config", place, most_bytes=MOST_CONFIG_BYTES, most_secs=MOST_CONFIG_SECS)


def vet_adapter(place: Path, look_up: Callable[[], None] = lambda: None) -> None:
    """Raise unless an adapter's own tokenizer may be read. As `Vetter.vet`."""
    VETTER.vet("adapter", place, look_up=look_up)
