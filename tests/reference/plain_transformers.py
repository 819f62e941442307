"""What transformers alone says about a model: the truth that browser tests hold the page against.

Reads one question as JSON from standard input, writes one answer to standard output. Imports nothing of
glassformer, on purpose: only `AutoModelForCausalLM` with eager attention, `generate()`, and plain forward hooks.

Question: `model` (a bundled name or a folder), `prompt` or `tokenIds`, `cells` ([{address, index}]), `newTokens`.
Answer: `token_ids`, `tokens`, `values` (one for each cell), `greedy_ids`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

BUNDLED = Path(__file__).resolve().parents[2] / "glassformer" / "bundled"


def read_cells(model, ids, cells):
    """The values of cells such as `resid_pre.2 [5, 7]` from hidden states, attentions and logits."""
    with torch.no_grad():
        out = model(ids, output_hidden_states=True, output_attentions=True)
    last = len(out.hidden_states) - 1
    values = []
    for cell in cells:
        point, _, block = cell["address"].partition(".")
        index = tuple(cell["index"])
        if point in ("resid_pre", "embeddings"):
            tensor = out.hidden_states[int(block or 0)][0]
        elif point == "resid_post" and int(block) + 1 < last:
            tensor = out.hidden_states[int(block) + 1][0]
        elif point == "final_norm":
            tensor = out.hidden_states[last][0]
        elif point == "attn_probs":
            tensor = out.attentions[int(block)][0]
        elif point == "lm_head":
            tensor = out.logits[0]
        else:
            sys.exit(f"plain transformers does not return {cell['address']}")
        values.append(tensor[index].item())
    return values


def main():
    logging.set_verbosity_error()
    question = json.load(sys.stdin)
    folder = BUNDLED / question["model"]
    folder = folder if folder.is_dir() else Path(question["model"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    ids = question.get("tokenIds") or tokenizer(question["prompt"])["input_ids"]
    batch = torch.tensor([ids])
    values = read_cells(model, batch, question.get("cells", []))
    greedy = []
    if question.get("newTokens"):
        out = model.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=question["newTokens"],
            do_sample=False,
        )
        greedy = out[0, len(ids) :].tolist()
    json.dump(
        {
            "token_ids": ids,
            "tokens": [tokenizer.decode([i]) for i in ids],
            "values": values,
            "greedy_ids": greedy,
        },
        sys.stdout,
    )


main()
