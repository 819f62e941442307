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
from torch import nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from glassformer.compute.linear import TRIED_ROWS
from glassformer.compute.product import Way, list_ways, narrowed, plainly, reordered, scaled, turned, widened

RESULTS = Path(__file__).parent / "results" / "product.md"
SHAPES = {"MLP up": (2048, 768), "MLP down": (768, 2048), "attention": (768, 768), "head": (32000, 768)}
WAYS: list[Way] = [plainly, turned, widened, narrowed, reordered, scaled]
FORMATS = {
    "float32": (torch.float32, torch.float32),
    "float32 stored in bfloat16": (torch.bfloat16, torch.float32),
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "int8 for float32": (torch.int8, torch.float32),
    "int8 for bfloat16": (torch.int8, torch.bfloat16),
}
"""What the weights were stored or are kept in, and what they are computed in."""
ROUNDS = 5


def measure(
    stored: torch.dtype, dtype: torch.dtype, features: tuple[int, int], count: int
) -> dict[Way, float]:
    """Milliseconds of each way for twelve such weights (one, if large), medians of rounds that alternate."""
    copies = 12 if features[0] < 10_000 else 1
    weights = [make_weight(stored, dtype, features) for _ in range(copies)]
    rows = torch.randn(count, features[1]).to(dtype)
    made = {way: [way(weight) for weight in weights] for way in list_ways(weights, spare_bytes=2**32)}
    secs: dict[Way, list[float]] = {way: [] for way in made}
    for _ in range(ROUNDS + 1):
        for way, products in made.items():
            started = time.perf_counter()
            for product in products:
                product(rows)
            secs[way].append(time.perf_counter() - started)
    return {way: 1e3 * statistics.median(found[1:]) for way, found in secs.items()}


def make_weight(stored: torch.dtype, dtype: torch.dtype, features: tuple[int, int]) -> torch.Tensor:
    if stored != torch.int8:
        return torch.randn(features).to(stored).to(dtype)
    with torch.inference_mode(False):  # where torchao's weights cannot be made
        model = nn.Sequential(nn.Linear(features[1], features[0], bias=False).to(dtype)).requires_grad_(False)
        quantize_(model, Int8WeightOnlyConfig())
        weight: torch.Tensor = model[0].weight.detach()
    return weight


def main() -> None:
    """Print the table."""
    lines = [
        "# Which way to multiply a weight with a few rows is the quickest?",
        "",
        f"`bench/product.py` on {cpu_count()} cores ({platform.processor() or platform.machine()}), torch",
        f"{torch.__version__}: milliseconds, medians of {ROUNDS} rounds. The last column is the library's own way",
        "against the best of the others.",
        "",
        f"| weights | shape | rows | `linear` | {' | '.join(way.__name__ for way in WAYS[1:])} | ratio |",
        f"|---|---|---:|{'---:|' * len(WAYS)}---:|",
    ]
    for kind, (stored, dtype) in FORMATS.items():
        for name, features in SHAPES.items():
            for count in TRIED_ROWS:
                with torch.inference_mode():
                    found = measure(stored, dtype, features, count)
                cells = [f"{found[way]:.2f}" if way in found else "-" for way in WAYS]
                row = [kind, name, str(count), *cells]
                ratio = found[plainly] / min(ms for way, ms in found.items() if way is not plainly)
                lines.append(f"| {' | '.join(row)} | {ratio:.2f} |")
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
