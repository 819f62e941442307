"""How long does a client wait beside another one that asks for everything at once?

A server of `tales`, another of the random 134M Llama of lib/shape.py. A polite client has short texts written, one
after another: alone, and beside a client of another address that always has 100 long ones under way. Both in one run;
what counts is the ratio of the medians. The polite client must never be refused. Writes bench/results/fairness.md, and
fails where a goal is missed. Takes three minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from lib.report import MACHINE, write_report
from lib.server import serving
from lib.shape import model_folder

GOAL = 3.0
GREEDY, POLITE = "127.0.0.2", "127.0.0.3"
CROWD, LONG_TOKENS = 100, 400
ASKED, SHORT_TOKENS = 30, 16
SETTLE_SECS = 3.0
WORDS = "Once upon a time there was little girl named Lily who liked to play with her dog in the park".split()


@dataclass(slots=True)
class Waits:
    """How long each of the polite client's texts took, and how many were refused."""

    secs: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def median_secs(self) -> float:
        return statistics.median(self.secs)

    @property
    def worst_secs(self) -> float:
        return max(self.secs)


def body(model: str, seed: int, tokens: int) -> dict[str, object]:
    """At most so many tokens after some that no other text begins with."""
    prompt = f"{seed} " + " ".join(WORDS[(seed * 7 + place * 3) % len(WORDS)] for place in range(20))
    return {"model_id": model, "prompt": prompt, "max_new_tokens": tokens, "temperature": 1.0, "seed": seed}


def connect(url: str, address: str) -> httpx.Client:
    """A client from an address of its own; Linux alone takes all of 127.0.0.0/8 for this machine's."""
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_connections=CROWD))
    return httpx.Client(base_url=url, transport=transport, timeout=120)


@contextmanager
def crowd(url: str, model: str) -> Iterator[None]:
    """Another client that has 100 long texts under way all the time."""
    left = threading.Event()
    client = connect(url, GREEDY)

    def ask(number: int) -> None:
        while not left.is_set():
            try:
                with client.stream(
                    "POST", "/generate/stream", json=body(model, number, LONG_TOKENS)
                ) as answer:
                    time.sleep(float(answer.headers.get("retry-after", 0)))
                    for _ in answer.iter_lines():
                        if left.is_set():
                            return
            except httpx.HTTPError:
                time.sleep(0.1)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(CROWD)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(SETTLE_SECS)
        yield
    finally:
        left.set()  # those whose text gave way hear it when the server ends


def wait_for(client: httpx.Client, model: str) -> Waits:
    waits = Waits()
    for number in range(ASKED):
        started = time.perf_counter()
        answer = client.post("/generate", json=body(model, 1000 + number, SHORT_TOKENS))
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            waits.refused += 1
            continue
        answer.raise_for_status()
        waits.secs.append(time.perf_counter() - started)
    return waits


def measure(models: Path, model: str) -> tuple[Waits, Waits]:
    """The polite client alone, and beside the other."""
    with serving(models, model, GLASSFORMER_RATE_LIMIT="") as served, connect(served.url, POLITE) as client:
        wait_for(client, model)  # the first texts find out how quick the machine is
        time.sleep(SETTLE_SECS)  # and when it is quiet, the server finds out that texts can share forwards
        alone = wait_for(client, model)
        with crowd(served.url, model):
            beside = wait_for(client, model)
    return alone, beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, help="the folder of a model to measure instead of the random 134M shape"
    )
    given = parser.parse_args().model
    rows, missed = [], False
    with model_folder(given) as folder:
        for models, model in ((folder.parent, "tales"), (folder.parent, folder.name)):
            alone, beside = measure(models, model)
            ratio = beside.median_secs / alone.median_secs
            missed |= ratio > GOAL or beside.refused > 0
            rows.append(
                f"| {model} | {alone.median_secs:.2f} s | {beside.median_secs:.2f} s | {beside.worst_secs:.2f} s | "
                f"{ratio:.2f} | {beside.refused} of {ASKED} |"
            )
    how = [
        f"Measured on {MACHINE}: {ASKED} texts of {SHORT_TOKENS} tokens, one after another, alone and beside a client",
        f"of another address that has {CROWD} texts of {LONG_TOKENS} tokens under way all the time. Goal: the median",
        f"at most {GOAL:g} times that of alone, and none refused.",
    ]
    head = [
        "| model | alone, median | beside, median | worst | ratio | refused |",
        "|---|---|---|---|---|---|",
    ]
    sys.stdout.write(write_report("fairness", "What a client notices of another's crowd", how, head, rows))
    sys.exit(missed)


if __name__ == "__main__":
    main()
