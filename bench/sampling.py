"""What does drawing one token cost beside the model's step? Ours against transformers' processors in the same run.

Processor time of this thread, so that other work on the machine does not count; the median of RUNS alternating
draws. Writes bench/results/sampling.md.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from glassformer.engine.sampling import Sampler
from glassformer.protocol.messages import Sampling

RESULTS = Path(__file__).parent / "results" / "sampling.md"
VOCABULARIES = (32_000, 128_000)
RUNS = 31
# A prompt and a continuation, for the penalties.
IDS = [place * 7 % 30_000 for place in range(1000)]
MAKERS: dict[str, Callable[[Any], Any]] = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
    "typical_p": TypicalLogitsWarper,
}
ALL = {
    "repetition_penalty": 1.2,
    "temperature": 0.7,
    "top_k": 50,
    "top_p": 0.95,
    "min_p": 0.01,
    "typical_p": 0.9,
}
CASES: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0},
    "temperature": {"temperature": 0.7},
    "temperature, top-p": {"temperature": 0.7, "top_p": 0.95},
    "temperature, top-k, top-p": {"temperature": 0.7, "top_k": 50, "top_p": 0.95},
    "typical": {"typical_p": 0.9},
    "all of them": ALL,
}


def make_plain(settings: dict[str, float], row: torch.Tensor) -> Callable[[], object]:
    """What `generate()` does for one row, and the log probability that a record needs."""
    chain = LogitsProcessorList([make(settings[name]) for name, make in MAKERS.items() if settings.get(name)])

    def draw() -> object:
        scores = chain(torch.tensor([IDS]), row[None])
        if settings.get("temperature") == 0.0:
            token_id = scores.argmax(-1)
        else:
            token_id = torch.multinomial(scores.softmax(-1), 1)[0]
        return row.log_softmax(-1)[token_id]

    return draw


def measure_us(*draws: Callable[[], object]) -> list[float]:
    """The median processor time of each, taking turns."""
    times: list[list[float]] = [[] for _ in draws]
    for _ in range(RUNS + 3):
        for draw, found in zip(draws, times, strict=True):
            started = time.thread_time()
            draw()
            found.append(time.thread_time() - started)
    return [statistics.median(found[3:]) * 1e6 for found in times]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lines = [
        "# What does drawing one token cost?",
        "",
        f"Processor time in µs, one thread, torch {torch.__version__}, {platform.machine()}; "
        f"median of {RUNS}. A step of a model takes 20,000 µs or more.",
        "",
        "| vocabulary | filters | transformers | ours, seeded as `generate()` | ours, without a seed |",
        "|---|---|---|---|---|",
    ]
    for vocab in VOCABULARIES:
        row = torch.randn(vocab) * 3
        for name, settings in CASES.items():
            off = {"temperature": 1.0, "top_p": 1.0}
            seeded = Sampler(Sampling(**(off | settings), seed=1), prompt_count=900)
            free = Sampler(Sampling(**(off | settings)), prompt_count=900)
            plain_us, seeded_us, free_us = measure_us(
                make_plain(settings, row),
                lambda seeded=seeded, row=row: seeded.draw(row, IDS),
                lambda free=free, row=row: free.draw(row, IDS),
            )
            lines.append(f"| {vocab:,} | {name} | {plain_us:,.0f} | {seeded_us:,.0f} | {free_us:,.0f} |")
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
