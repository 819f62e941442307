"""A real server of its own for a measurement, and the random model that it may serve."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_SECS = 600.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs."""

    url: str
    pid: int

    def read_processor_secs(self) -> float:
        """Its user and system time so far (proc(5)); Linux alone has it there."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(models: Path, default_model: str, **environment: str) -> Iterator[Served]:
    """A server of the models of a folder, once the default one has been loaded.

    Raises RuntimeError where that never happens.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--model-dir", str(models), "--default-model", default_model, "--offline"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from glassformer.cli import app; app()", "serve", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_secs = time.monotonic() + READY_SECS
        while not _is_ready(url):
            if time.monotonic() > until_secs or process.poll() is not None:
                raise RuntimeError("the server did not become ready")
            time.sleep(0.1)
        yield Served(url, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=10).status_code == 200
    except httpx.TransportError:
        return False
