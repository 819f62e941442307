"""What does looking into a run cost? Memory and waiting times of a recording, against the ways that keep everything.

Plain ways: PyTorch hooks on transformers' own model, and TransformerLens and nnsight where an interpreter that has both
is named (`--rivals PYTHON`); all on the same weights and tokens, and all must give the same numbers. Every side runs in
a process of its own, one at a time, in rounds that alternate. Writes bench/results/trace.md. With the rivals it takes
about ten minutes on two cores and 8 GB. What recording costs a generation's speed is bench/engine.py's question.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lib.shape import SHAPE, make_model, make_tokenizer
from lib.side import ask

RESULTS = Path(__file__).parent / "results" / "trace.md"
POSITIONS = {256: 3, 2048: 1}
"""Lengths of text, and how often a question is asked in a round."""
OURS, HOOKS = "Glassformer", "hooks"
SIDES = {OURS: "glassformer_side", HOOKS: "hook_side"}
RIVALS = {"TransformerLens": "transformer_lens_side", "nnsight": "nnsight_side"}
ONE_SITE = {"mlp_act": "`mlp_act`", "attn_probs": "`attn_probs`, one head"}
ABSENT = "not measured"
# Relative to the largest of the cells compared: what a different order of sums may do in float32.
TOLERANCE = 1e-4

Answers = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """The answers of every side to one length of text, a list of rounds for each."""

    rounds: dict[str, list[Answers]]

    def secs(self, side: str, question: str) -> float:
        return statistics.median(answers[question]["secs"] for answers in self.rounds[side])

    def value(self, side: str, question: str, what: str) -> float:
        return float(self.rounds[side][-1][question][what])

    def ratio(self, question: str, side: str, other: str) -> float:
        """Ours over another side's, the median over the rounds."""
        pairs = zip(self.rounds[OURS], self.rounds[side], strict=True)
        return statistics.median(our[question]["secs"] / their[other]["secs"] for our, their in pairs)


def measure(
    folder: Path, positions: int, repeats: int, *, rounds: int, rivals: str | None, launch: list[str]
) -> Found:
    sides = SIDES | (RIVALS if rivals else {})
    found: dict[str, list[Answers]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, script in sides.items():
            python = rivals if rivals and side in RIVALS else sys.executable
            answers = ask([*launch, python], script, folder, positions, repeats)
            found[side].append(answers)
            told = {question: round(one["secs"], 3) for question, one in answers.items()}
            print(positions, side, told, flush=True)
    require_agreement(found)
    return Found(found)


def require_agreement(found: dict[str, list[Answers]]) -> None:
    """Stop unless all sides gave the same numbers for the same site."""
    for question in ONE_SITE:
        ours = np.array(found[OURS][-1][question]["cells"])
        for side, rounds in found.items():
            theirs = np.array(rounds[-1][question]["cells"])
            if not np.allclose(ours, theirs, rtol=0, atol=TOLERANCE * np.abs(ours).max()):
                raise SystemExit(f"{side} gives other numbers for {question}: {theirs} for {ours}.")


def describe(found: Found) -> list[str]:
    """The rows of one length of text."""
    others = [side for side in (HOOKS, *RIVALS) if side in found.rounds]

    def row(what: str, ours: str, cells: dict[str, str], goal: str, ratios: dict[str, float]) -> str:
        columns = [cells.get(side, ABSENT) for side in (HOOKS, *RIVALS)]
        told = " / ".join(f"{ratios[side]:.3f}" for side in others)
        return f"| {what} | {ours} | {' | '.join(columns)} | {told} | {goal} |"

    def time_row(what: str, question: str, asked: str, goal: str) -> str:
        cells = {side: f"{found.secs(side, asked):.3f}" for side in others}
        ratios = {side: found.ratio(question, side, asked) for side in others}
        return row(what, f"{found.secs(OURS, question):.3f}", cells, goal, ratios)

    held = {side: found.value(side, "all", "bytes") / 1e6 for side in others}
    recorded = found.value(OURS, "record", "bytes") / 1e6
    rows = [
        row(
            "held, MB: a recording; elsewhere all sites",
            f"{recorded:.1f}",
            {side: f"{size:.0f}" for side, size in held.items()},
            "0.05",
            {side: recorded / size for side, size in held.items()},
        ),
        row(
            "sites that can be asked for; elsewhere tensors held",
            f"{found.value(OURS, 'all', 'sites'):.0f}",
            {side: f"{found.value(side, 'all', 'sites'):.0f}" for side in others},
            "",
            {side: found.value(OURS, "all", "sites") / found.value(side, "all", "sites") for side in others},
        ),
    ]
    for question, what in ONE_SITE.items():
        rows.append(time_row(f"{what} of a recording, s", question, question, "0.1 (hooks)"))
        rows.append(time_row(f"{what}, text to number, s", f"{question} from nothing", question, ""))
    rows.append(time_row("all sites of a recording, s", "all", "all", "1"))
    rows.append(time_row("all sites, text to numbers, s", "all from nothing", "all", ""))
    return rows


def write_tables(found: dict[int, Found], rounds: dict[int, int]) -> str:
    some = next(iter(found.values()))
    others = " / ".join(side for side in (HOOKS, *RIVALS) if side in some.rounds)
    middle = SHAPE["num_hidden_layers"] // 2
    lines = [
        "# What does looking into a run cost?",
        "",
        f"`bench/trace.py` on {cpu_count()} cores ({platform.machine()}), torch {torch.__version__}, f32; a random"
        " Llama shape of 134M",
        "parameters (vocabulary 32,000, width 768, 12 blocks, 12 heads, MLP 2048). Every side reads the same weights",
        "and tokens in a process of its own, and their numbers agree. Medians of rounds that alternate; ratios, ours",
        "over theirs, are medians over rounds.",
        "",
        f"One site is block {middle}'s. Hooks run a whole forward for it (logits of the last position only);"
        " TransformerLens and",
        f"nnsight stop after block {middle}. \"Of a recording\" asks a recording of the text that is there and of which"
        " nothing was",
        "asked yet; \"text to number\" makes the recording first. All sites are held together when the clock stops.",
        "Hooks reach neither attention scores nor queries and keys after rotary.",
    ]  # fmt: skip
    for positions, one in found.items():
        lines += [
            "",
            f"## {positions} tokens ({rounds[positions]} rounds)",
            "",
            f"| what | {OURS} | hooks | {' | '.join(RIVALS)} | ratio to {others} | goal |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *describe(one),
        ]
    lines += ["", "What recording costs a generation's speed: `bench/engine.py`."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rivals", help="a Python interpreter that has transformer-lens and nnsight")
    parser.add_argument(
        "--rounds", type=int, default=5, help="for the short text; the long one gets half of it"
    )
    parser.add_argument(
        "--launch",
        default="",
        help="a command to start every side with, one that gives priority for instance",
    )
    arguments = parser.parse_args()
    rounds = {256: arguments.rounds, 2048: max(1, arguments.rounds // 2)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tokenizer: Any = make_tokenizer()
        make_model().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found = {
            positions: measure(
                folder,
                positions,
                repeats,
                rounds=rounds[positions],
                rivals=arguments.rivals,
                launch=arguments.launch.split(),
            )
            for positions, repeats in POSITIONS.items()
        }
    text = write_tables(found, rounds)
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
