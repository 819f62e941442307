"""Which way to multiply a weight with a few rows is the quickest on this processor? All ways in the same run.

The shapes are those of the 134M model that the other benchmarks use. Writes bench/results/product.md.
"""

from __future__ import annotations

import platform
import statistics
import time
from os import cpu_count
from pathlib import Path

import torch

from glassformer.model.product import TRIED_ROWS, multiply_plainly, multiply_turned, multiply_widened

RESULTS = Path(__file__).parent / "results" / "product.md"
SHAPES = {"MLP up": (2048, 768), "MLP down": (768, 2048), "attention": (768, 768), "head": (32000, 768)}
ROUNDS = 5


def measure(dtype: torch.dtype, features: tuple[int, int], count: int) -> list[float]:
    """Milliseconds of each way for twelve such weights (one, if large), medians of rounds that alternate."""
    copies = 12 if features[0] < 10_000 else 1
    weights = [torch.randn(features).to(dtype) for _ in range(copies)]
    rows = torch.randn(count, features[1]).to(dtype)
    ways = [multiply_plainly, multiply_turned]
    if dtype != torch.float32:
        ways.append(multiply_widened)
    secs: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS + 1):
        for way, found in zip(ways, secs, strict=True):
            started = time.perf_counter()
            for weight in weights:
                way(rows, weight)
            found.append(time.perf_counter() - started)
    return [1e3 * statistics.median(found[1:]) for found in secs]


def main() -> None:
    """Print the table."""
    lines = [
        "# Which way to multiply a weight with a few rows is the quickest?",
        "",
        f"`bench/product.py` on {cpu_count()} cores ({platform.processor() or platform.machine()}), torch",
        f"{torch.__version__}: milliseconds, medians of {ROUNDS} rounds. The last column is the library's own way",
        "against the best of the others.",
        "",
        "| weights | shape | rows | `linear` | turned | widened | ratio |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for dtype in (torch.float32, torch.bfloat16):
        for name, features in SHAPES.items():
            for count in TRIED_ROWS:
                with torch.inference_mode():
                    found = measure(dtype, features, count)
                cells = [f"{ms:.2f}" for ms in found] + ["-"] * (3 - len(found))
                row = [str(dtype).removeprefix("torch."), name, str(count), *cells]
                lines.append(f"| {' | '.join(row)} | {found[0] / min(found[1:]):.2f} |")
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
