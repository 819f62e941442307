"""How long from `make run` on a warm install to the first full picture?

`make run` is started, the page opened as soon as the address answers, and the clock stopped at the last frame of the
picture. The yardstick is what no server of this kind can avoid: a Python that imports torch and transformers.
Writes bench/results/startup.md.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from os import cpu_count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hatch_build import find_node  # noqa: E402

ROUNDS = 3


def measure_imports_secs() -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import torch, transformers.models.llama.modeling_llama"], check=True
    )
    return time.perf_counter() - started


def measure_startup() -> dict[str, float]:
    node, _ = find_node()
    command = [str(node), "--experimental-strip-types", "--no-warnings", "e2e/measure.ts", "startup"]
    return json.loads(subprocess.run(command, cwd=ROOT / "web", stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    rounds = [(measure_imports_secs(), measure_startup()) for _ in range(ROUNDS)]
    imports_secs = statistics.median(imports for imports, _ in rounds)
    answering_secs = statistics.median(found["answeringMs"] for _, found in rounds) / 1000
    picture_secs = statistics.median(found["fullPictureMs"] for _, found in rounds) / 1000
    text = "\n".join(
        [
            "# From `make run` to the first full picture",
            "",
            f"`bench/startup.py` on {cpu_count()} cores ({platform.machine()}), software rendering,"
            f" median of {ROUNDS} rounds on a warm install.",
            "",
            "| what | seconds | ratio |",
            "|---|---:|---:|",
            f"| `import torch` and a transformers model | {imports_secs:.2f} | 1.00 |",
            f"| the address answers | {answering_secs:.2f} | {answering_secs / imports_secs:.2f} |",
            f"| the first full picture | {picture_secs:.2f} | {picture_secs / imports_secs:.2f} |",
            "",
        ]
    )
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "startup.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
