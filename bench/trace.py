"""Does recording a generation cost speed? Tokens per second with the recording on against off, in the same run.

Pairs of runs alternate, so that a machine that drifts drifts for both; the ratio is the median over pairs. Writes
bench/results/trace.md.
"""

from __future__ import annotations

import platform
import statistics
import time
from os import cpu_count
from pathlib import Path

import torch
from lib.shape import SHAPE, make_model
from transformers import LlamaForCausalLM

from glassformer.model.attention import install
from glassformer.model.structure import Structure
from glassformer.trace.recording import Recording

RESULTS = Path(__file__).parent / "results" / "trace.md"
PROMPT_TOKENS, NEW_TOKENS, PAIRS = 32, 24, 7


def decode(model: LlamaForCausalLM, token_ids: torch.Tensor, recording: Recording | None) -> float:
    """Greedy tokens per second after the prompt."""
    cache, ids, seen = None, token_ids, 0
    started = time.perf_counter()
    for step in range(NEW_TOKENS + 1):
        if step == 1:
            started = time.perf_counter()
        stop = seen + ids.shape[1]
        if recording is None:
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        else:
            with recording.watch(slice(0, stop - seen), seen, stop):
                out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache, seen = out.past_key_values, stop
        ids = out.logits[:, -1:].argmax(-1)
    return NEW_TOKENS / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    model = make_model()
    install(model)
    structure = Structure(model, object())
    token_ids = torch.randint(0, SHAPE["vocab_size"], (1, PROMPT_TOKENS))
    with torch.inference_mode():
        decode(model, token_ids, None)
        pairs = []
        for pair in range(PAIRS):
            on = decode(model, token_ids, Recording(structure, f"bench{pair}"))
            off = decode(model, token_ids, None)
            pairs.append((on, off))
    on, off = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(on / off for on, off in pairs)
    lines = [
        "# Does recording cost speed?",
        "",
        f"`bench/trace.py` on {cpu_count()} cores ({platform.machine()}), f32, one stream of a 134M Llama shape,",
        f"{NEW_TOKENS} greedy tokens after {PROMPT_TOKENS}; medians of {PAIRS} pairs.",
        "",
        "| what | tokens/s |",
        "|---|---:|",
        f"| recording on | {on:.1f} |",
        f"| recording off | {off:.1f} |",
        f"| ratio on / off (goal >= 0.97) | {ratio:.3f} |",
    ]
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
