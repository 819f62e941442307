"""What is left of a stream's speed beside one busy process, and while a browser on the same machine draws it?

Two servers of the same model, asked in turn: one as it is, one whose threads are fixed (GLASSFORMER_FIXED_THREADS=1),
as torch would have them. Quiet, beside a process that computes all the time, and watched on the page by a real Chromium
that draws with the processor. The model is the random 134M Llama of lib/shape.py, stored in 16 bits; give a folder to
measure another. Writes bench/results/contention.md, and fails where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.server import serving
from lib.shape import model_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hatch_build import find_node  # noqa: E402

# What has to be kept of the quiet speed, quiet and beside a busy process, and how much quicker a watched text must be
# than with fixed threads.
QUIET_GOAL, BUSY_GOAL, WATCHED_GOAL = 0.95, 0.6, 4.0
# A stream is read for so many tokens or seconds, whichever comes first: with fixed threads one may take minutes.
TOKENS, MOST_SECS, PROMPT_TOKENS = 60, 12.0, 20
WATCHED_TOKENS = 24
SIDES = {"follows": "0", "fixed": "1"}


@dataclass(frozen=True)
class Server:
    """A server of one model."""

    url: str
    model: str

    def stream(self) -> float:
        """Tokens a second of one text, its prompt left out."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(range(100, 100 + PROMPT_TOKENS)),
            "max_tokens": TOKENS,
            "temperature": 0,
            "stream": True,
        }
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        times: list[float] = []
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            for line in answer:
                if line.startswith(b"data:") and b"[DONE]" not in line:
                    times.append(time.perf_counter())
                    if times[-1] - times[0] > MOST_SECS:
                        break
        return (len(times) - 1) / (times[-1] - times[0])

    def watch(self) -> float:
        """Tokens a second of one text that the page of a real browser generates and draws."""
        node, _ = find_node()
        command = [str(node), "--experimental-strip-types", "--no-warnings", "e2e/measure.ts", "watched"]
        wanted = {"WATCHED_URL": self.url, "WATCHED_MODEL": self.model, "WATCHED_TOKENS": str(WATCHED_TOKENS)}
        done = subprocess.run(
            command, cwd=ROOT / "web", stdout=subprocess.PIPE, check=True, env={**os.environ, **wanted}
        )
        found = json.loads(done.stdout)
        return float(found["tokens"]) / (float(found["generatingMs"]) / 1000)


@contextmanager
def busy_process() -> Iterator[None]:
    """One process that computes and never waits."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1)
        yield
    finally:
        process.kill()
        process.wait()


def measure(servers: dict[str, Server], rounds: int, *, watches: bool) -> dict[str, dict[str, list[float]]]:
    """Tokens a second by situation and side, each side in turn."""
    found: dict[str, dict[str, list[float]]] = {}

    def note(situation: str, side: str, speed: float) -> None:
        found.setdefault(situation, {}).setdefault(side, []).append(speed)
        print(f"{situation:8} {side:8} {speed:6.2f} tokens/s", flush=True)

    for number in range(rounds):
        # The other way around every other time: what a machine does by itself must not fall to one side.
        sides = [*servers][:: 1 if number % 2 == 0 else -1]
        for side in sides:
            note("quiet", side, servers[side].stream())
        with busy_process():
            for side in sides:
                note("busy", side, servers[side].stream())
        if watches:
            for side in sides:
                note("watched", side, servers[side].watch())
    return found


def write_page(found: dict[str, dict[str, list[float]]], model: str, rounds: int) -> tuple[str, bool]:
    """The page of results, and whether all goals are met."""
    middle = {
        situation: {side: statistics.median(speeds) for side, speeds in sides.items()}
        for situation, sides in found.items()
    }
    quiet = middle["quiet"]["fixed"]
    goals = [
        ("quiet, of quiet with fixed threads", middle["quiet"]["follows"] / quiet, QUIET_GOAL),
        ("beside a busy process, of quiet", middle["busy"]["follows"] / quiet, BUSY_GOAL),
    ]
    if "watched" in middle:
        ratio = middle["watched"]["follows"] / middle["watched"]["fixed"]
        goals.append(("watched on the page, times fixed threads", ratio, WATCHED_GOAL))
    rows = [
        f"| {situation} | {sides['follows']:.1f} ({spread(found[situation]['follows'])}) "
        f"| {sides['fixed']:.1f} ({spread(found[situation]['fixed'])}) | {sides['follows'] / sides['fixed']:.2f} |"
        for situation, sides in middle.items()
    ]
    lines = [
        "# A stream beside others",
        "",
        f"`bench/contention.py` on {os.cpu_count()} cores ({platform.machine()}), {model}, medians of {rounds} rounds.",
        "",
        "| tokens a second (from, to) | threads follow | fixed threads | ratio |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        "| goal | wanted | measured | |",
        "|---|---:|---:|---|",
        *(
            f"| {what} | {wanted} | {ratio:.2f} | {'met' if ratio >= wanted else 'missed'} |"
            for what, ratio, wanted in goals
        ),
        "",
    ]
    return "\n".join(lines), all(ratio >= wanted for _, ratio, wanted in goals)


def spread(speeds: list[float]) -> str:
    return f"{min(speeds):.1f}, {max(speeds):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a model to measure in place of the random one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-browser", action="store_true", help="leave out what the page draws")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(model_folder(options.model))
        servers = {}
        for side, fixed in SIDES.items():
            # One after the other: a server that loads beside another would measure its ways in its noise.
            started = serving(folder.parent, folder.name, GLASSFORMER_FIXED_THREADS=fixed)
            servers[side] = Server(stack.enter_context(started).url, folder.name)
        found = measure(servers, options.rounds, watches=not options.no_browser)
    text, is_met = write_page(found, folder.name, options.rounds)
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "contention.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
