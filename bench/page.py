"""What does the page cost: bytes, frames, memory, and the server's work for whoever watches?

Real server, real Chromium with software rendering at 1400 x 900, each page opened once warm. Frames are held against a
plain three.js scene's in the same browser, in turns; llm-viz, which draws shapes of the same kind, was measured against
that scene too, and is measured again where its built page is at hand (`--llm-viz ADDRESS`). The real model is
the one of `scripts/real_model.py`. Writes bench/results/page.md; ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hatch_build import find_node  # noqa: E402

LLM_VIZ = {"toy": 1.8, "gpt3": 8.7}
"""A frame of llm-viz (commit 9da9374) as a multiple of the plain scene's: its smallest model, and its GPT-3."""


@dataclass(frozen=True)
class Row:
    """One goal: `measured` must not be above it."""

    what: str
    measured: float
    goal: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.measured <= self.goal

    def line(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        ratio = f"{self.measured / self.goal:.2f}" if self.goal else "-"
        verdict = "" if self.is_met else "missed"
        return f"| {self.what} | {self.measured:,.4g}{unit} | {self.goal:,.4g}{unit} | {ratio} | {verdict} |"


def find_real_model() -> Path | None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "real_model.py"], stdout=subprocess.PIPE, text=True, check=False
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def measure(real: Path | None, llm_viz: str | None) -> dict[str, Any]:
    node, _ = find_node()
    environment = {**os.environ, **({"LLM_VIZ_URL": llm_viz} if llm_viz else {})}
    if real is not None:
        environment |= {"MODEL_DIR": str(real.parent), "REAL_MODEL": real.name}
    command = [str(node), "--experimental-strip-types", "--no-warnings", "e2e/measure.ts", "page"]
    done = subprocess.run(command, cwd=ROOT / "web", env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def list_picture(found: dict[str, Any], secs: float, megabytes: float) -> Iterator[Row]:
    yield Row("first full picture", found["fullPictureMs"] / 1000, secs, "s")
    yield Row("bytes until then", (found["assetBytes"] + found["dataBytes"]) / 1e6, megabytes, "MB")
    yield Row("draw calls", found["drawCalls"], 60)
    yield Row("triangles", found["triangles"], 100_000)
    yield Row("textures", found["textureBytes"] / 2**20, 64, "MiB")
    yield Row("heap", found["heapBytes"] / 1e6, 120, "MB")
    yield Row("frames while idle", found["idleFrames"], 0)


def list_frames(found: dict[str, Any]) -> Iterator[Row]:
    yardstick = found["llmViz"] or LLM_VIZ
    yield Row("`tales`, of llm-viz's smallest model", found["tales"] / yardstick["toy"], 0.6, "x")
    yield Row("gpt3-175b, of llm-viz's GPT-3", found["gpt3"] / yardstick["gpt3"], 0.15, "x")
    yield Row("gpt3-175b, of `tales`", found["gpt3"] / found["tales"], 1.3, "x")


def list_moved(model: str, found: dict[str, Any]) -> Iterator[Row]:
    for what, name in (("step", "the token before"), ("position", "another token"), ("word", "another word")):
        moved = found[what]
        yield Row(f"{model}: {name}, {moved['frames']} frames", moved["ms"], 300, "ms")


def list_written(found: dict[str, Any]) -> Iterator[Row]:
    for what in ("heap", "texture"):
        first, last = found[f"{what}Bytes"]
        yield Row(f"{what} after {found['tokens']} more tokens, of that before", last / first, 1.15, "x")
        yield Row(f"{what} then", last / 1e6, {"heap": 120, "texture": 67}[what], "MB")


def list_work(found: dict[str, Any]) -> Iterator[Row]:
    yield Row("watched from afar, of the API alone", found["far"] / found["alone"], 1.05, "x")
    yield Row("watched near one head, of the API alone", found["near"] / found["alone"], 1.3, "x")


def list_sections(found: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "`tales`", list(list_picture(found["tales"], 2.2, 0.9))
    yield "`sorter`", list(list_picture(found["sorter"], 2.2, 0.9))
    yield "A frame while the camera moves", list(list_frames(found["orbits"]))
    yield "A long text of `tales`, its blocks near", list(list_written(found["written"]["near"]))
    real = found["real"]
    moved = list(list_moved("`tales`", found["moved"]))
    moved += list_moved("the real model", real["moved"]) if real is not None else []
    yield "Moving the far view, at once, until the picture is another", moved
    if real is not None:
        yield "A long text of SmolLM2-135M-Instruct from afar", list(list_written(found["written"]["far"]))
        yield f"SmolLM2-135M-Instruct, {real['tokens']} tokens", list(list_picture(real, 3.0, 1.5))
        script = Row("scripts in a frame while matrices arrive, p95", real["arrivingScriptMs"], 30, "ms")
        yield "Coming near it", [script]
        yield "The server's work for a token of it", list(list_work(real))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llm-viz", help="address of a built llm-viz page")
    given = parser.parse_args()
    found = measure(find_real_model(), given.llm_viz)
    sections = list(list_sections(found))
    lines = [
        "# What does the page cost?",
        "",
        f"`bench/page.py` on {cpu_count()} cores ({platform.machine()}), software rendering at 1400 x 900.",
        "Bytes are compressed, headers included. Seconds are this machine's own.",
    ]
    if found["orbits"]["llmViz"]:
        again = found["orbits"]["llmViz"]
        lines += [
            "",
            f"llm-viz in this run: {again['toy']:.2f} and {again['gpt3']:.2f} of the plain scene's frame.",
        ]
    for title, rows in sections:
        lines += [f"\n## {title}\n", "| what | measured | goal | ratio | |", "|---|---:|---:|---:|---|"]
        lines += [row.line() for row in rows]
    text = "\n".join(lines) + "\n"
    (ROOT / "bench" / "results" / "page.md").write_text(text)
    print(text)
    missed = sum(not row.is_met for _, rows in sections for row in rows)
    if missed:
        sys.exit(f"{missed} goals missed")


if __name__ == "__main__":
    main()
