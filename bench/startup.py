"""How long until there is something to see, and until a model that is asked for writes?

`make run` is started, the page opened as soon as the address answers, and the clock stopped at the last frame of the
picture. The yardstick is what no server of this kind can avoid: a Python that imports torch and transformers.

Then a running server is asked to load a model, the clock stopped at the first text and when its whole anatomy has been
checked; the yardstick is plain `from_pretrained` and one forward, in a process that has imported and loaded before.
What the checks cost is counted in forwards of their prompt, on one thread, in seconds of the processor.

Models: the random 134M shape, and a real one where its folder is named (`--folder`, or GLASSFORMER_BENCH_MODEL). Writes
bench/results/startup.md; ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from os import cpu_count
from pathlib import Path

import httpx
import torch
from lib.loading import PROMPT
from lib.server import serving
from lib.shape import save_shape

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from glassformer.anatomy.checkup import build_anatomy  # noqa: E402
from glassformer.anatomy.measurement import make_check_prompt  # noqa: E402
from glassformer.files.catalog import ModelSource  # noqa: E402
from glassformer.loading.load import load_model  # noqa: E402
from hatch_build import find_node  # noqa: E402

ROUNDS = 3
LOADING_ROUNDS = 5
FIRST_TEXT_GOAL = 1.3
"""First text, as a multiple of `from_pretrained` and a forward."""
CHECKS_GOAL = 8.0
"""All checks of a model, in forwards of their prompt."""
TIMEOUT_SECS = 120.0


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


# --- a model that is asked for -----------------------------------------------------------------------


def measure_loading(folder: Path) -> tuple[float, float]:
    """Seconds from the POST of a load until there is text, and until everything has been checked."""
    with (
        serving(folder.parent, "sorter") as served,
        httpx.Client(base_url=served.url, timeout=TIMEOUT_SECS) as client,
    ):
        started = time.perf_counter()
        client.post(f"/api/models/{folder.name}/load").raise_for_status()
        body = {"model": folder.name, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
        client.post("/v1/completions", json=body).raise_for_status()
        first_secs = time.perf_counter() - started
        # Nobody looks at anything: the parts are checked in the server's own time.
        while "event: checked" not in (checks := client.get(f"/api/models/{folder.name}/checks")).text:
            checks.raise_for_status()
            if time.perf_counter() - started > TIMEOUT_SECS:
                raise SystemExit(f"The checks of {folder.name} did not end: {checks.text[-500:]}")
        return first_secs, time.perf_counter() - started


def measure_plain_secs(folder: Path) -> float:
    command = [sys.executable, str(ROOT / "bench" / "lib" / "loading.py"), str(folder)]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def count_forwards(folder: Path) -> float:
    """What all checks of a model cost, in forwards of their prompt."""
    loaded = load_model(ModelSource(model_id=folder.name, kind="folder", folder=folder), folder)
    ids = make_check_prompt(loaded.vocab, loaded.context, loaded.device)[None]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ratios = []
        for _ in range(LOADING_ROUNDS):
            forwards = []
            for _ in range(3):
                started = time.thread_time()
                with torch.inference_mode():
                    loaded.model(input_ids=ids, use_cache=False)
                forwards.append(time.thread_time() - started)
            started = time.thread_time()
            build_anatomy(loaded)
            ratios.append((time.thread_time() - started) / statistics.median(forwards))
    finally:
        torch.set_num_threads(threads)
    return statistics.median(ratios)


def describe_loading(name: str, folder: Path) -> tuple[str, list[str]]:
    """A row of the table for a model, and the goals that it misses."""
    rounds = [(measure_plain_secs(folder), *measure_loading(folder)) for _ in range(LOADING_ROUNDS)]
    plain, first, whole = (statistics.median(secs) for secs in zip(*rounds, strict=True))
    # In the same round both sides meet the same machine.
    ratio = statistics.median(first / plain for plain, first, _ in rounds)
    forwards = count_forwards(folder)
    missed = []
    if ratio > FIRST_TEXT_GOAL:
        missed.append(f"{name}: the first text takes {ratio:.2f} times the plain way, not {FIRST_TEXT_GOAL}")
    if forwards > CHECKS_GOAL:
        missed.append(f"{name}: the checks cost {forwards:.1f} forwards, not {CHECKS_GOAL:.0f}")
    row = f"| {name} | {plain:.2f} | {first:.2f} | {ratio:.2f} | {whole:.2f} | {forwards:.1f} |"
    return row, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=os.environ.get("GLASSFORMER_BENCH_MODEL"))
    chosen = parser.parse_args()
    rounds = [(measure_imports_secs(), measure_startup()) for _ in range(ROUNDS)]
    imports_secs = statistics.median(imports for imports, _ in rounds)
    answering_secs = statistics.median(found["answeringMs"] for _, found in rounds) / 1000
    picture_secs = statistics.median(found["fullPictureMs"] for _, found in rounds) / 1000
    with tempfile.TemporaryDirectory() as folder:
        save_shape(Path(folder) / "shape")
        found = [describe_loading("random Llama shape, 134M", Path(folder) / "shape")]
    if chosen.folder:
        found.append(describe_loading(Path(chosen.folder).name, Path(chosen.folder).resolve()))
    missed = [goal for _, goals in found for goal in goals]
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
            "# From `POST /api/models/{id}/load` to text, and to a whole check",
            "",
            f"Seconds, medians of {LOADING_ROUNDS} rounds that alternate with the plain way (`from_pretrained` in"
            f" float32 and one forward), {torch.get_num_threads()} threads; the ratio is taken in each round. Goals:"
            f" first text within {FIRST_TEXT_GOAL} of the plain way; all checks within {CHECKS_GOAL:.0f} forwards of"
            " their prompt (processor seconds, one thread).",
            "",
            "| model | plain | first text | ratio | all checked | checks in forwards |",
            "|---|---:|---:|---:|---:|---:|",
            *(row for row, _ in found),
            "",
            *(f"Missed: {goal}." for goal in missed),
        ]
    )
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    (results / "startup.md").write_text(text.rstrip() + "\n")
    print(text)
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
