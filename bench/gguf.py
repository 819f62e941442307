"""How long does a GGUF take to load, against the same model as a folder of safetensors?

Both go the way of the product, from the file to a model that was seen not to look ahead: headers, config, tokenizer,
weights as 32-bit floats. The folder is in bfloat16, as makers publish models; the GGUF is in about 4 bits, and each
weight has to be computed. One process, in turns, after one load of each; the quickest of each side counts, for both are
disturbed by what else the machine does. The real model of the tests (scripts/real_model.py), or files that are named.

Writes bench/results/gguf.md; ends with 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import platform
import runpy
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
# This file is called as the library it is about.
sys.path[0] = str(ROOT)

from glassformer.files.catalog import ModelSource  # noqa: E402
from glassformer.loading.form.recognise import open_form  # noqa: E402
from glassformer.loading.load import load_model  # noqa: E402

ROUNDS = 5
GOAL = 1.5
"""Loading a GGUF, as a multiple of loading the same model as safetensors."""
SCRIPT = ROOT / "scripts" / "real_model.py"


def find_files(room: Path) -> tuple[Path, Path]:
    """The real model's GGUF, unpacked into `room`, and its folder of safetensors."""
    script = runpy.run_path(str(SCRIPT))
    folder = subprocess.run(
        [sys.executable, SCRIPT], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    with zipfile.ZipFile(script["download"](room)) as archive:
        return Path(archive.extract(script["MEMBER"], room)), Path(folder)


def measure(place: Path) -> tuple[float, float]:
    """Seconds on the clock, and seconds of the processor."""
    source = ModelSource(model_id=place.name, kind="folder", folder=place)
    started, busy = time.perf_counter(), time.process_time()
    load_model(source, place, device="cpu")
    return time.perf_counter() - started, time.process_time() - busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, help="a GGUF file")
    parser.add_argument("--folder", type=Path, help="the same model as a folder of safetensors")
    chosen = parser.parse_args()
    if bool(chosen.gguf) != bool(chosen.folder):
        parser.error("name both, or neither")
    with tempfile.TemporaryDirectory() as room:
        file, folder = (chosen.gguf, chosen.folder) if chosen.gguf else find_files(Path(room))
        rounds = [(measure(folder), measure(file)) for _ in range(ROUNDS + 1)][1:]
        stored = open_form(file).header.main_type
    best = [min(one[side][clock] for one in rounds) for side in (0, 1) for clock in (0, 1)]
    ratio, busy_ratio = best[2] / best[0], best[3] / best[1]
    table = [
        "| kept as | seconds | of the processor |",
        "|---|---|---|",
        f"| safetensors | {best[0]:.2f} | {best[1]:.2f} |",
        f"| GGUF, {stored} | {best[2]:.2f} | {best[3]:.2f} |",
        f"| ratio | {ratio:.2f} | {busy_ratio:.2f} |",
    ]
    text = "\n".join(
        [
            "# Loading a GGUF",
            "",
            f"{folder.name}, {platform.machine()}, {torch.get_num_threads()} threads, the quickest of {ROUNDS} loads",
            f"each; at most {GOAL} is wanted.",
            "",
            *table,
        ]
    )
    (ROOT / "bench" / "results" / "gguf.md").write_text(text + "\n")
    print("\n".join(table))
    if ratio > GOAL:
        sys.exit(f"A GGUF takes {ratio:.2f} times as long to load, not {GOAL}.")


if __name__ == "__main__":
    main()
