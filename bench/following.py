"""What does a text that is being written lose by being watched through readings?

A server of the random 134M Llama of lib/shape.py (give a folder to measure another) writes the same text again and
again, recorded each time: nobody asks anything, or somebody asks for the reading of the newest position as often as
the page does. In pairs, the other way around every other time; what counts is the median of the pairs' ratios, of
speed and of the server's processor time. Writes bench/results/following.md, and fails where a goal is missed. Takes
three minutes.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from lib.report import MACHINE, write_report
from lib.server import Served, serving
from lib.shape import model_folder

ROOT = Path(__file__).resolve().parents[1]
PACE = ROOT / "web" / "src" / "main" / "LivePace.ts"
GOAL = 0.97
PROMPT_TOKENS, TOKENS, PAIRS = 40, 240, 7


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the page asks about a text that is being written."""

    pause_secs: float
    share: float

    @classmethod
    def of_page(cls) -> Pace:
        """What the page's own source says. Raises ValueError where it says it in other words."""
        source = PACE.read_text(encoding="utf-8")
        pause = re.search(r"PAUSE_MS = (\d+);", source)
        share = re.search(r"SHARE = 1 / (\d+);", source)
        if pause is None or share is None:
            raise ValueError(f"{PACE} no longer tells the pace")
        return cls(int(pause[1]) / 1000, 1 / int(share[1]))

    def wait_secs(self, answered_secs: float) -> float:
        """From an answer that took so long until the next question."""
        return max(self.pause_secs, answered_secs / self.share)


@dataclass(frozen=True, slots=True)
class Written:
    """One text: tokens a second, the server's processor seconds a token, and how many readings were had meanwhile."""

    speed: float
    processor_secs: float
    readings: int


class Server:
    """A server of one model."""

    def __init__(self, served: Served, model: str) -> None:
        self.served = served
        self.client = httpx.Client(base_url=served.url, timeout=300)
        self.model = model

    def write(self, pace: Pace | None) -> Written:
        """A recorded text, followed by readings at that pace."""
        body = {
            "model_id": self.model,
            "token_ids": list(range(100, 100 + PROMPT_TOKENS)),
            "max_new_tokens": TOKENS,
            "sampling": {"temperature": 0},
        }
        before = self.served.read_processor_secs()
        run = self.client.post("/api/traces", json=body).raise_for_status().json()["id"]
        ended = threading.Event()
        answered: list[int] = []
        follower = threading.Thread(target=self.follow, args=(run, pace, ended, answered)) if pace else None
        times: list[float] = []
        with self.client.stream("GET", f"/api/traces/{run}/events") as answer:
            for line in answer.iter_lines():
                if line == "event: step":
                    times.append(time.perf_counter())
                    if follower and len(times) == 1:
                        follower.start()
        ended.set()
        if follower:
            follower.join()
        used = self.served.read_processor_secs() - before
        self.client.delete(f"/api/traces/{run}")
        return Written((len(times) - 1) / (times[-1] - times[0]), used / len(times), len(answered))

    def follow(self, run: str, pace: Pace, ended: threading.Event, answered: list[int]) -> None:
        """Ask for the newest position's reading until the text has ended, each time as the page does."""
        with httpx.Client(base_url=self.client.base_url, timeout=300) as client:
            while not ended.is_set():
                position = client.get(f"/api/traces/{run}").raise_for_status().json()["positions"] - 1
                started = time.perf_counter()
                question = {"pos": position, "versus": "mean"}
                client.get(f"/api/traces/{run}/reading", params=question).raise_for_status()
                answered.append(position)
                ended.wait(pace.wait_secs(time.perf_counter() - started))


def measure(server: Server, pairs: int) -> list[tuple[Written, Written]]:
    """A text that nobody watches and one that is watched, so often."""
    pace = Pace.of_page()
    server.write(pace)  # warms up, checks the model
    found = []
    for number in range(pairs):
        if number % 2 == 0:
            alone, watched = server.write(None), server.write(pace)
        else:
            watched, alone = server.write(pace), server.write(None)
        found.append((alone, watched))
        print(
            f"{alone.speed:6.2f} alone, {watched.speed:6.2f} watched by {watched.readings} readings: "
            f"{watched.speed / alone.speed:.3f}",
            flush=True,
        )
    return found


def main() -> None:
    """Print the table; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a model to measure in place of the random one")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(model_folder(options.model))
        served = stack.enter_context(serving(folder.parent, folder.name))
        found = measure(Server(served, folder.name), options.pairs)
    speed = statistics.median(watched.speed / alone.speed for alone, watched in found)
    work = statistics.median(alone.processor_secs / watched.processor_secs for alone, watched in found)
    readings = statistics.median(watched.readings for _, watched in found)
    text = write_report(
        "following",
        "A text that is watched through readings",
        [
            f"`bench/following.py` on {MACHINE}, {folder.name}, {TOKENS} tokens after {PROMPT_TOKENS}; medians of "
            f"{len(found)} pairs,",
            f"in each of which {readings:g} readings were had.",
        ],
        ["| what is left, of a text that nobody watches | wanted | measured | |", "|---|---:|---:|---|"],
        [
            f"| {what} | {GOAL} | {ratio:.3f} | {'met' if ratio >= GOAL else 'missed'} |"
            for what, ratio in (("speed", speed), ("tokens for the same processor time", work))
        ],
    )
    print(text)
    if min(speed, work) < GOAL:
        sys.exit("A goal was missed.")


if __name__ == "__main__":
    main()
