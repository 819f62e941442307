"""What does it cost to say what mattered for a word? Seconds, and against one forward of the same text in the same run.

The bundled `tales` and the real model (scripts/real_model.py, or `--model FOLDER`), with a recording at hand. Rounds
alternate between the forward and each question; what counts is the quickest round, for others may use the machine in
the rest. Writes bench/results/decision.md, and fails where a goal is missed. Takes a minute.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from lib.report import MACHINE, write_report

import glassformer
from glassformer.compute.computing import computing, working
from glassformer.notebook import Trace
from glassformer.reading.decision import Question
from glassformer.reading.reading import read
from glassformer.run.run import Run

ROOT = Path(__file__).resolve().parents[1]
TEXT = (
    "Mia has a red ball. Tom has a blue kite. Mia gives the ball to Tom. Tom gives the kite to Mia. "
    "Who has the ball now? Tom has the ball. Mia goes to the park with the kite, and Tom goes to the river."
)
REAL, TALES = "the real model", "tales"
POSITIONS = 60
ROUNDS = 7
# Words that nobody has asked about yet.
WORDS = itertools.count(7)


@dataclass(frozen=True, slots=True)
class Row:
    """A question, how it is asked of a run of so many positions, and what it may take: seconds, or forwards."""

    name: str
    ask: Callable[[Run], object]
    positions: int = POSITIONS
    goal_secs: dict[str, float] | None = None
    goal_forwards: dict[str, float] | None = None


def read_anew(run: Run) -> object:
    """The reading of the last position, of which nothing is kept."""
    forget(run)
    return read(run, Question(versus="mean"))


def read_other_word(run: Run) -> object:
    """Another word at a position that was read before."""
    return read(run, Question(token=next(WORDS) % run.loaded.vocab, versus="mean"))


def forget(run: Run) -> None:
    run._keeper.drop_blocks(run.id)


ROWS = (
    Row("reading", read_anew, goal_secs={REAL: 0.25, TALES: 0.05}),
    Row("reading, another word", read_other_word, goal_secs={REAL: 0.3, TALES: 0.05}),
)


@dataclass(frozen=True, slots=True)
class Found:
    """The quickest round of a question, and of a forward of its text."""

    model: str
    row: Row
    secs: float
    cpu_secs: float
    forward_secs: float

    @property
    def misses(self) -> bool:
        forwards = self.secs / self.forward_secs
        return self.secs > (self.row.goal_secs or {}).get(self.model, float("inf")) or forwards > (
            self.row.goal_forwards or {}
        ).get(self.model, float("inf"))

    def describe(self) -> str:
        goals = [f"{goal:g} s" for name, goal in (self.row.goal_secs or {}).items() if name == self.model]
        goals += [
            f"{goal:g} x" for name, goal in (self.row.goal_forwards or {}).items() if name == self.model
        ]
        verdict = "**missed**" if self.misses else "met"
        return (
            f"| {self.model} | {self.row.name} | {self.row.positions} | {self.secs:.3f} | {self.cpu_secs:.3f} | "
            f"{self.forward_secs:.3f} | {self.secs / self.forward_secs:.2f} | {', '.join(goals) or '-'} | "
            f"{verdict if goals else '-'} |"
        )


def measure(name: str, model: glassformer.Model) -> list[Found]:
    """Every row on one model."""
    found = []
    traces = {positions: cut_trace(model, positions) for positions in {row.positions for row in ROWS}}
    for row in ROWS:
        run = traces[row.positions].live
        assert run is not None
        row.ask(run)  # checks equations, warms up
        best, cpu, forward = float("inf"), float("inf"), float("inf")
        for _ in range(ROUNDS):
            forward = min(forward, time_forward(run))
            wall, used = time.perf_counter(), time.process_time()
            row.ask(run)
            wall, used = time.perf_counter() - wall, time.process_time() - used
            best, cpu = min(best, wall), min(cpu, used)
        found.append(Found(name, row, best, cpu, forward))
    return found


def cut_trace(model: glassformer.Model, positions: int) -> Trace:
    ids = model.loaded.encode(TEXT)
    return model.trace(token_ids=(ids * (positions // len(ids) + 1))[:positions])


def time_forward(run: Run) -> float:
    ids = torch.tensor([run.token_ids])
    started = time.perf_counter()
    with run.loaded.lock, computing(len(run.token_ids)), torch.inference_mode():
        run.loaded.model(input_ids=ids, use_cache=False)
    return time.perf_counter() - started


def find_real(folder: Path | None) -> Path | None:
    if folder is not None:
        return folder
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "real_model.py"], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def main() -> None:
    """Print the table; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="the folder of the real model")
    folder = find_real(parser.parse_args().model)
    with working():
        found = measure(TALES, glassformer.load("tales"))
        if folder is not None:
            found += measure(REAL, glassformer.load(folder, dtype="float32"))
    text = write_report(
        "decision",
        "What does it cost to say what mattered for a word?",
        [
            f"`bench/decision.py` on {MACHINE}, float32, the recording at hand; the",
            f"quickest of {ROUNDS} rounds. A forward is one of the same text in the same run. `tales` is bundled; the",
            "real model is SmolLM2-135M-Instruct.",
        ],
        [
            "| model | question | positions | seconds | processor seconds | forward, s | forwards | goal | |",
            "|---|---|---:|---:|---:|---:|---:|---|---|",
        ],
        [each.describe() for each in found],
    )
    print(text)
    if folder is None:
        print("The real model could not be had; only `tales` was measured.")
    if any(each.misses for each in found):
        sys.exit("A goal was missed.")


if __name__ == "__main__":
    main()
