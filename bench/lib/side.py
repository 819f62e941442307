"""One side of a comparison, in a process of its own: any interpreter, no import of Glassformer here.

A side's script gives its questions to `answer`; the benchmark runs it with `ask`. What each question keeps is counted
by its storages, and a few of its numbers come back so that the sides can be held against each other.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WARM_UP_POSITIONS = 64
# Cells of the last row that are compared between the sides.
COMPARED = 8

Question = Callable[[list[int]], Callable[[], Mapping[str, Any]]]
"""Given token ids, gets ready and returns what is timed: it gives arrays by name, all of them kept."""


def ask(launch: list[str], script: str, folder: Path, positions: int, repeats: int) -> dict[str, Any]:
    """Run a side and return its answers: for each question `secs`, `bytes`, `sites` and `cells`."""
    command = [*launch, "-m", f"lib.{script}", str(folder), str(positions), str(repeats)]
    place = Path(__file__).parent.parent
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place)
    answers: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answers


def answer(make_questions: Callable[[Path], dict[str, Question]]) -> None:
    """Answer every question of a side: medians over the repeats, after a short text that warms it up."""
    folder, positions, repeats = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    answers = {}
    for name, question in make_questions(folder).items():
        time_once(question, make_token_ids(WARM_UP_POSITIONS))
        rounds = [time_once(question, make_token_ids(positions)) for _ in range(repeats)]
        answers[name] = {**rounds[-1], "secs": statistics.median(one["secs"] for one in rounds)}
    print(json.dumps(answers))


def time_once(question: Question, token_ids: list[int]) -> dict[str, Any]:
    timed = question(token_ids)
    started = time.perf_counter()
    kept = timed()
    secs = time.perf_counter() - started
    cells = read_cells(next(iter(kept.values()))) if len(kept) == 1 else []
    return {"secs": secs, "bytes": count_bytes(kept), "sites": len(kept), "cells": cells}


def make_token_ids(positions: int) -> list[int]:
    rng = random.Random(positions)
    return [rng.randrange(5, 32000) for _ in range(positions)]


def count_bytes(kept: Mapping[str, Any]) -> int:
    """Bytes of all storages that hold the arrays, each once; an array that is a part keeps the whole."""
    held = {}
    for value in kept.values():
        if hasattr(value, "untyped_storage"):
            storage = value.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
        else:
            while getattr(value, "base", None) is not None and hasattr(value.base, "__array_interface__"):
                value = value.base  # noqa: PLW2901
            held[value.__array_interface__["data"][0]] = value.nbytes
    return sum(held.values())


def read_cells(value: Any) -> list[float]:
    """A few cells of the last row."""
    row = value.reshape(-1, value.shape[-1])[-1]
    return [float(row[index]) for index in range(0, len(row), max(1, len(row) // COMPARED))]
