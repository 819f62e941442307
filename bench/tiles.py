"""How long until a large weight can be seen, and what does that hold in memory? How long until a tile's first byte?

Weights of a model of a billion parameters (one projection, one embedding) as the store sees them, against pooling the
whole array at once with numpy in the same run: time to the first chunk of the level a page asks first, to all of that
level, and the memory allocated meanwhile. Then a real server with a recording, asked by a few clients at once for a
bounded number of tiles. Writes bench/results/tiles.md. Takes about a minute and 1.1 GB.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from os import cpu_count
from pathlib import Path

import httpx
import numpy as np

from glassformer.tiles.level import SMALLEST_SIDE, count_levels
from glassformer.tiles.zarr_store import ArrayView, ZarrStore

RESULTS = Path(__file__).parent / "results" / "tiles.md"
SHAPES = {"2048 x 8192 projection": (2048, 8192), "128256 x 2048 embedding": (128256, 2048)}
# What a page of 1400 x 900 asks for first, from afar: about so many cells along the longer side.
FIRST_SIDE = 512
CLIENTS, TILES = 4, 300
PROMPT = "Mia has a red ball. Mia gives the ball to Tom. Who has the ball? Tom has the ball."


def first_level(shape: tuple[int, int]) -> int:
    level = 0
    while max(shape) > FIRST_SIDE * 2**level:
        level += 1
    return min(level, count_levels(shape) - 1)


def timed(call: Callable[[], object]) -> tuple[float, int]:
    """Seconds of a call, and the bytes it allocated at most, measured in a second call."""
    started = time.perf_counter()
    call()
    elapsed_secs = time.perf_counter() - started
    tracemalloc.start()
    call()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return elapsed_secs, peak_bytes


def pool_whole(cells: np.ndarray, factor: int) -> np.ndarray:
    """The plain way: everything at once."""
    rows, columns = (size // factor * factor for size in cells.shape)
    grouped = cells[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    flat = grouped.swapaxes(1, 2).reshape(rows // factor, columns // factor, factor * factor)
    best = np.abs(flat).argmax(-1)[..., None]
    return np.take_along_axis(flat, best, -1)[..., 0]


def measure_weight(shape: tuple[int, int]) -> list[str]:
    cells = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    level = first_level(shape)
    asked: list[int] = []

    def read(region: tuple[slice, ...]) -> np.ndarray:
        asked.append(cells[region].size)
        return cells[region]

    view = ArrayView(shape, ("row", "column"), read)
    store = ZarrStore({"w": view}, {}, growing=False)
    chunks = [key for key in store.list_keys() if key.startswith(f"w/{level}/c/")]
    first_secs, first_bytes = timed(lambda: store.get(chunks[0]))
    all_secs, all_bytes = timed(lambda: [store.get(key) for key in chunks])
    whole_secs, whole_bytes = timed(lambda: pool_whole(cells, 2**level))
    pooled = np.concatenate([np.frombuffer(store.get(key).body, "<f4") for key in chunks])
    assert np.nanmax(np.abs(pooled)) == np.abs(cells).max()
    side = " x ".join(str(-(-size // 2**level)) for size in shape)
    return [
        f"level {level} ({side})",
        f"{first_secs:.2f}",
        f"{all_secs:.2f}",
        f"{whole_secs:.2f}",
        f"{all_secs / whole_secs:.2f}",
        f"{max(asked) * 4 / 2**20:.0f}",
        f"{max(first_bytes, all_bytes) / 2**20:.0f}",
        f"{whole_bytes / 2**20:.0f}",
    ]


def measure_tiles() -> dict[str, float]:
    """First bytes of tiles under load, in milliseconds."""
    command = [sys.executable, "-c", "from glassformer.cli import app; app()", "serve", "--port", "0"]
    command += ["--offline", "--rate-limit", "", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip().removesuffix("/llm")
            return ask_for_tiles(url)
        finally:
            server.terminate()


def ask_for_tiles(url: str) -> dict[str, float]:
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        client.post("/api/models/tales/load")
        client.get("/api/models/tales/load")
        state = client.post("/api/traces", json={"model_id": "tales", "prompt": PROMPT}).json()
        client.get(f"/api/traces/{state['id']}/events")
        stores = [f"/api/traces/{state['id']}/zarr", "/api/models/tales/zarr"]
        tiles = [f"{base}/{path}/c/{'/'.join('0' * len(array['shape']))}" for base in stores
                 for path, array in client.get(f"{base}/zarr.json").json()["consolidated_metadata"]["metadata"].items()
                 if array["node_type"] == "array"]  # fmt: skip
    waits: list[float] = []

    def ask(number: int) -> None:
        order = random.Random(number)
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            for _ in range(TILES // CLIENTS):
                started = time.perf_counter()
                with client.stream("GET", order.choice(tiles)) as answer:
                    next(answer.iter_raw())
                    waits.append((time.perf_counter() - started) * 1000)
                    answer.raise_for_status()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ranked = statistics.quantiles(waits, n=100)
    return {"count": len(waits), "median": statistics.median(waits), "p95": ranked[94], "p99": ranked[98]}


def main() -> None:
    """Print the tables."""
    lines = [
        "# How long until numbers can be seen?",
        "",
        f"`bench/tiles.py` on {cpu_count()} cores ({platform.machine()}). The ratio is all of the level against numpy"
        " on the",
        "whole array at once, in the same run; memory is what was allocated beside the weights themselves.",
        f"Levels end where an array has at most {SMALLEST_SIDE} cells a side.",
        "",
        "| weight | first level asked | first tile, s | all of it, s | numpy at once, s | ratio"
        " | read at once, MiB | held, MiB | numpy held, MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [f"| {name} | {' | '.join(measure_weight(shape))} |" for name, shape in SHAPES.items()]
    found = measure_tiles()
    lines += [
        "",
        f"First byte of a tile (`tales`, recording and weights, every level; {CLIENTS} clients at once,"
        f" {found['count']:.0f} tiles):",
        "",
        "| median, ms | p95, ms | p99, ms |",
        "|---:|---:|---:|",
        f"| {found['median']:.1f} | {found['p95']:.1f} | {found['p99']:.1f} |",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
