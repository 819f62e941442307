"""The plain way to a first text, in a process of its own: `from_pretrained`, a forward, the likeliest token.

Run with a folder; prints the seconds as JSON. What a process pays once, whatever it loads, is paid before.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from glassformer.bundled import SORTER

PROMPT = "The capital of Spain is"


def write_first(folder: str) -> float:
    """Seconds from nothing to the first token's text, in the format that the server chooses on a CPU."""
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(**tokenizer(PROMPT, return_tensors="pt", return_token_type_ids=False)).logits
    tokenizer.decode(logits[0, -1].argmax())
    return time.perf_counter() - started


if __name__ == "__main__":
    write_first(str(SORTER.folder))
    print(json.dumps(write_first(sys.argv[1])))
