"""What does the page cost? Bytes over the wire, draw calls, triangles, and frames drawn while nobody touches it.

Real server, real Chromium with software rendering, each bundled model opened once warm. The browser tests enforce
the budgets too, all but that of the first numbers. Writes bench/results/page.md.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from os import cpu_count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hatch_build import find_node  # noqa: E402

TRANSFER_BUDGET = 1_200_000
BUDGETS = {
    "transferred bytes, page": TRANSFER_BUDGET,
    "transferred bytes, page and first numbers": TRANSFER_BUDGET,
    "draw calls": 80,
    "triangles": 120_000,
    "frames while idle": 0,
}


def measure() -> dict[str, object]:
    node, _ = find_node()
    command = [str(node), "--experimental-strip-types", "--no-warnings", "e2e/measure.ts", "page"]
    return json.loads(subprocess.run(command, cwd=ROOT / "web", stdout=subprocess.PIPE, check=True).stdout)


def tabulate(model: str, found: dict[str, float]) -> list[str]:
    counts = {
        "transferred bytes, page": found["assetBytes"],
        "transferred bytes, page and first numbers": found["assetBytes"] + found["dataBytes"],
        "draw calls": found["drawCalls"],
        "triangles": found["triangles"],
        "frames while idle": found["idleFrames"],
    }
    rows = [f"\n## {model}\n", "| what | measured | budget | ratio |", "|---|---:|---:|---:|"]
    for what, count in counts.items():
        budget = BUDGETS[what]
        ratio = f"{count / budget:.2f}" if budget else "-"
        rows.append(f"| {what} | {count:,.0f} | {budget:,} | {ratio} |")
    rows += [
        f"| textures on the GPU, bytes | {found['textureBytes']:,.0f} | | |",
        f"| full picture after opening, s | {found['fullPictureMs'] / 1000:.2f} | | |",
        f"| a frame while orbiting, ms | {found['frameMs']:.0f} | | |",
    ]
    return rows


def main() -> None:
    found = measure()
    lines = [
        "# What does the page cost?",
        "",
        f"`bench/page.py` on {cpu_count()} cores ({platform.machine()}), software rendering at 1400 x 900.",
        "Bytes are compressed, headers included. Times mean little on another machine; counts are the same everywhere.",
    ]
    for model, numbers in found["models"].items():
        lines += tabulate(model, numbers)
    text = "\n".join(lines) + "\n"
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "page.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
