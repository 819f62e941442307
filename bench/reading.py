"""How long does a prompt take to be read after one step was stalled, against one that nothing disturbed?

Engines of the random 134M Llama of lib/shape.py, each new: one reads a prompt, the other reads it after a step of
another prompt has been held up for three seconds, as by a page of memory that has to be fetched. Writes
bench/results/reading.md, and fails where it takes more than one and a half times as long.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import torch  # noqa: E402
from lib.prepared import prepare  # noqa: E402
from lib.report import MACHINE, write_report  # noqa: E402
from lib.shape import make_model  # noqa: E402

from glassformer.engine.engine import Engine  # noqa: E402
from glassformer.engine.generation_request import GenerationRequest  # noqa: E402
from glassformer.engine.sequence import TokenSequence  # noqa: E402
from glassformer.engine.session import Session  # noqa: E402
from glassformer.loading.loaded import LoadedModel  # noqa: E402
from glassformer.protocol.messages import Sampling  # noqa: E402
from glassformer.run.recording import Recording  # noqa: E402

LENGTHS = (526, 2000)
STALL_SECS, ROUNDS, GOAL = 3.0, 3, 1.5


class Stalled(Recording):
    """Holds its forward up once."""

    @contextmanager
    def watch(self, rows: slice, start: int, stop: int) -> Iterator[None]:
        with super().watch(rows, start, stop):
            yield
            if start == 0:
                time.sleep(STALL_SECS)


def read(engine: Engine, count: int, watcher: Recording | None = None) -> float:
    """Seconds until the first token after a prompt of `count` tokens."""
    ended = threading.Event()
    request = GenerationRequest(list(range(7, 7 + count)), Sampling(temperature=0), max_new_tokens=1)
    sequence = TokenSequence(engine.loaded, request, watcher=watcher)
    started = time.perf_counter()
    engine.submit(Session(sequence, lambda token: None, lambda error: ended.set()))
    ended.wait()
    return time.perf_counter() - started


def measure(loaded: LoadedModel, count: int) -> tuple[float, float]:
    """Seconds undisturbed, and after a stalled step."""
    found = []
    for is_stalled in (False, True):
        engine = Engine(loaded, max_running=2, max_waiting=0)
        read(engine, 64, Stalled(loaded.structure, "stalled") if is_stalled else None)
        found.append(read(engine, count))
        engine.close()
        engine.join(10)
    return found[0], found[1]


def load() -> LoadedModel:
    return prepare(make_model(torch.bfloat16).float(), "llama-134m")


def main() -> None:
    loaded = load()
    rows, is_met = [], True
    for count in LENGTHS:
        pairs = [measure(loaded, count) for _ in range(ROUNDS)]
        plain, stalled = (statistics.median(secs) for secs in zip(*pairs, strict=True))
        is_met = is_met and stalled <= GOAL * plain
        rows.append(f"| {count:,} | {plain:.2f} | {stalled:.2f} | {stalled / plain:.2f} |")
        print(rows[-1], flush=True)
    write_report(
        "reading",
        "A prompt after a stalled step",
        [f"`bench/reading.py` on {MACHINE}, medians of {ROUNDS} rounds; at most {GOAL} is wanted."],
        [
            "| tokens | undisturbed, s | after a stalled step, s | ratio |",
            "|---:|---:|---:|---:|",
        ],
        rows,
    )
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
