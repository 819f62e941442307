"""How much memory this machine has for weights, and how much of it is free now: the host's and each GPU's."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from glassformer.errors import BadValue

CGROUP = Path("/sys/fs/cgroup")
# Share of a GPU's free memory for weights; the rest is for what a forward needs.
GPU_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Room:
    """The memory of one kind of device, `cpu`, `cuda` or `mps`: of all GPUs, and what is free where a model goes."""

    kind: str
    total_bytes: int
    free_bytes: int


def measure_room(device: str) -> Room:
    """The memory behind `device`, a name torch knows. Brings torch in for anything but a CPU."""
    kind = device.partition(":")[0]
    if kind != "cuda":
        return Room(kind, total_host_bytes(), free_host_bytes())
    number = device.partition(":")[2]
    gpus = list_gpu_bytes()
    free_bytes = [free for index, (free, _) in gpus.items() if number in ("", str(index))]
    return Room(kind, sum(total for _, total in gpus.values()), sum(free_bytes))


def list_gpu_bytes() -> dict[int, tuple[int, int]]:
    """Free and total bytes of each GPU, by its number."""
    import torch

    return {index: torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count())}


def total_host_bytes() -> int:
    """Memory of this machine, or of the control group it runs in, whichever is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in (CGROUP / "memory.max", CGROUP / "memory" / "memory.limit_in_bytes"):
        limits += read_number(path)
    if min(limits) <= 0:
        raise BadValue("The memory of this machine is not known; set model_bytes.", field="model_bytes")
    return min(limits)


def free_host_bytes() -> int:
    """Memory that can be had without pushing something else out; the kernel's own estimate where it gives one."""
    frees = [total_host_bytes()]
    frees += [1024 * amount for amount in read_table(Path("/proc/meminfo"), "MemAvailable:")]
    limit, used = read_number(CGROUP / "memory.max"), read_number(CGROUP / "memory.current")
    if limit and used:
        # File pages are counted as used and given back on demand.
        pages = read_table(CGROUP / "memory.stat", "inactive_file") + read_table(
            CGROUP / "memory.stat", "active_file"
        )
        frees.append(limit[0] - used[0] + sum(pages))
    return max(0, min(frees))


def read_number(path: Path) -> list[int]:
    """The whole number in `path`, as a list that is empty where there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return []
    return [int(text)] if text.isdigit() else []


def read_table(path: Path, name: str) -> list[int]:
    """The number beside `name` in a table of names and numbers, as `read_number`."""
    try:
        lines = path.read_text().splitlines() if sys.platform == "linux" else []
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.split()[:1] == [name]][:1]


def spread_over_gpus(needed_bytes: int, free_bytes: dict[int, int]) -> int | dict[int | str, int]:
    """The one GPU to use, that with the most free memory; or bytes for each where no single one has enough.

    Nothing for the host then: what spills into its memory is slow without a word.
    """
    usable_bytes = {index: int(free * GPU_SHARE) for index, free in free_bytes.items()}
    roomiest = max(usable_bytes, key=lambda index: usable_bytes[index])
    if needed_bytes <= usable_bytes[roomiest] or len(usable_bytes) == 1:
        return roomiest
    shares: dict[int | str, int] = {"cpu": 0}
    shares.update((index, usable) for index, usable in usable_bytes.items())
    return shares
