"""`glassformer doctor` without a model: whether what is installed here can work, and what to do where it cannot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from glassformer.errors import GlassformerError
from glassformer.files.size import format_bytes
from glassformer.settings import Settings

HUB_SECS = 5.0
# Of a disk with less than this hardly a model can be fetched.
FEW_BYTES = 2 * 10**9
STYLES = {"works": "green", "limited": "yellow", "broken": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is needed: `limited` works with something less, `broken` does not."""

    name: str
    state: Literal["works", "limited", "broken"]
    says: str


def print_installation(settings: Settings, console: Console) -> bool:
    """A line for each thing that is needed; whether none is broken. Takes seconds where a hub does not answer."""
    found = list(examine(settings))
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in found:
        table.add_row(each.name, f"[{STYLES[each.state]}]{each.state}[/]", each.says)
    console.print(table)
    return all(each.state != "broken" for each in found)


def examine(settings: Settings) -> Iterator[Finding]:
    checks: dict[str, Callable[[Settings], Finding]] = {
        "torch": examine_torch,
        "compiler": examine_compiler,
        "memory": examine_memory,
        "model cache": examine_cache,
        "model hub": examine_hub,
        "address": examine_address,
        "page": examine_page,
    }
    for name, check in checks.items():
        try:
            yield check(settings)
        except GlassformerError as error:
            yield Finding(name, "broken", error.message)


def examine_torch(settings: Settings) -> Finding:
    import torch

    try:
        ones = torch.ones(64, 64)
        is_right = bool((ones @ ones == 64).all())
    except RuntimeError as error:
        return Finding("torch", "broken", f"It does not multiply: {error}")
    if not is_right:
        return Finding("torch", "broken", "It does not multiply rightly; install another build.")
    devices = [
        f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        devices.append("mps")
    capability = torch.backends.cpu.get_cpu_capability()
    places = ", ".join(devices) or "no GPU"
    return Finding(
        "torch", "works", f"{torch.__version__}, {torch.get_num_threads()} threads, {capability}, {places}"
    )


def examine_compiler(settings: Settings) -> Finding:
    name = os.environ.get("CXX") or "c++"
    if shutil.which(name) or shutil.which("g++") or shutil.which("clang++"):
        return Finding("compiler", "works", "compile_blocks can be switched on")
    return Finding("compiler", "limited", "No C++ compiler: everything works but compile_blocks.")


def examine_memory(settings: Settings) -> Finding:
    from glassformer.loading.memory import measure_room

    room = measure_room("cpu")
    says = f"{format_bytes(room.free_bytes)} of {format_bytes(room.total_bytes)} are free"
    if settings.trace_bytes > room.free_bytes:
        return Finding(
            "memory", "limited", f"{says}; recordings may take {format_bytes(settings.trace_bytes)}."
        )
    return Finding("memory", "works", says)


def examine_cache(settings: Settings) -> Finding:
    from glassformer.server.startup import check_cache, find_cache

    folder = settings.hub_cache or find_cache()
    if not settings.offline:
        check_cache(folder)
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free_bytes = shutil.disk_usage(place).free
    says = f"{format_bytes(free_bytes)} are free in {folder}"
    if free_bytes < FEW_BYTES and not settings.offline:
        return Finding(
            "model cache", "limited", f"{says}: few models can be fetched; set HF_HOME to a larger disk."
        )
    return Finding("model cache", "works", says)


def examine_hub(settings: Settings) -> Finding:
    import httpx
    from huggingface_hub import constants

    if settings.offline or constants.HF_HUB_OFFLINE:
        return Finding("model hub", "limited", "Not asked: offline. Models on this machine open.")
    address = settings.hub_endpoint or constants.ENDPOINT
    try:
        httpx.head(address, timeout=HUB_SECS, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = type(error).__name__
        return Finding(
            "model hub", "limited", f"{address} cannot be reached ({why}). Models on this machine open."
        )
    return Finding("model hub", "works", f"{address} answers")


def examine_address(settings: Settings) -> Finding:
    from glassformer.server.startup import check_start, take_port

    check_start(settings)
    take_port(settings).close()
    return Finding("address", "works", f"{settings.host}, port {settings.port} is free")


def examine_page(settings: Settings) -> Finding:
    from glassformer.export.folder import PAGE

    if not (Path(PAGE) / "index.html").is_file():
        return Finding("page", "broken", "It has not been built: run `make page`, or install a wheel.")
    return Finding("page", "works", "it is built")
