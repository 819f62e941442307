"""What does the language model inside a model of pictures cost to load, against the same one in a folder of its own?

A random Mistral 3 whose part for pictures is larger than its language model, in bfloat16, and that language model
alone.
Each load is a process of its own, in turns: seconds from the folder to a model that was seen not to look ahead, and the
most memory the process held above what it held before. The quickest and the least of each side count.

Writes bench/results/tower.md; ends with 1 where the goal is missed.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ROUNDS = 3
GOAL = 1.1
"""Memory while the whole model's folder is loaded, as a multiple of the language model's own. Time is told: the model
is tried as both classes before one of them is kept, which costs two forwards of a few tokens."""
BLOCK = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "head_dim": 64}


def make(room: Path) -> None:
    import torch
    from tiny import make_tokenizer
    from transformers import AutoConfig, AutoModelForImageTextToText

    from glassformer.loading.tower import make_causal

    tokenizer = make_tokenizer()
    text = {"model_type": "mistral", "vocab_size": len(tokenizer), "num_hidden_layers": 10, **BLOCK}
    text["num_key_value_heads"] = 8
    vision = {"model_type": "pixtral", "num_hidden_layers": 16, "image_size": 112, "patch_size": 14, **BLOCK}
    tokens = {"image_token_id": 5, "image_token_index": 5}
    config = AutoConfig.for_model("mistral3", text_config=text, vision_config=vision, **tokens)
    auto: Any = AutoModelForImageTextToText
    whole = auto.from_config(config, dtype=torch.bfloat16).eval()
    whole.save_pretrained(room / "whole")
    alone = make_causal(whole)
    alone.config.architectures = [type(alone).__name__]
    alone.save_pretrained(room / "alone")
    for name in ("whole", "alone"):
        tokenizer.save_pretrained(room / name)


def load(folder: Path) -> None:
    """Print the seconds and the bytes of one load."""
    from glassformer.files.catalog import ModelSource
    from glassformer.loading.load import load_model

    source = ModelSource(model_id=folder.name, kind="folder", folder=folder)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    load_model(source, folder, device="cpu")
    taken = time.perf_counter() - started
    print(taken, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def measure(folder: Path) -> tuple[float, float]:
    made = subprocess.run(
        [sys.executable, __file__, str(folder)], check=True, text=True, stdout=subprocess.PIPE
    )
    seconds, most_bytes = made.stdout.split()[-2:]
    return float(seconds), float(most_bytes)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        # Elsewhere: what this process once held, a process that it starts is said to have held.
        subprocess.run([sys.executable, __file__, "make", name], check=True)
        sizes = [(room / side / "model.safetensors").stat().st_size for side in ("alone", "whole")]
        rounds = [[measure(room / side) for side in ("alone", "whole")] for _ in range(ROUNDS)]
    alone, whole = ([min(one[side][what] for one in rounds) for what in (0, 1)] for side in (0, 1))
    ratios = [b / a for a, b in zip(alone, whole, strict=True)]
    table = [
        "| folder | on the disk | seconds | most memory while loading |",
        "|---|---|---|---|",
        f"| the language model alone | {sizes[0] / 1e6:.0f} MB | {alone[0]:.2f} | {alone[1] / 1e6:.0f} MB |",
        f"| the whole model | {sizes[1] / 1e6:.0f} MB | {whole[0]:.2f} | {whole[1] / 1e6:.0f} MB |",
        f"| ratio | {sizes[1] / sizes[0]:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |",
    ]
    heading = [
        "# Loading the language model inside a model of pictures",
        "",
        f"Mistral 3, random, {platform.machine()}; the best of {ROUNDS} loads each; at most {GOAL} times the memory",
        "is wanted. The time is that of a machine at work, and has two forwards more in it: the model is tried as both "
        "classes.",
        "",
    ]
    (ROOT / "bench" / "results" / "tower.md").write_text("\n".join([*heading, *table]) + "\n")
    print("\n".join(table))
    if ratios[1] > GOAL:
        sys.exit(f"The whole model's folder takes {ratios[1]:.2f} times the memory, not {GOAL}.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        load(Path(sys.argv[1]))
    else:
        main()
