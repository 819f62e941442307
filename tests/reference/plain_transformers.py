"""What transformers alone says about a model: the truth that browser tests hold the page against.

Reads one question as JSON from standard input, writes one answer to standard output. Imports nothing of
glassformer, on purpose: only `AutoModelForCausalLM` with eager attention, `generate()`, and plain forward hooks
on a Llama-shaped model's own modules.

Question: `model` (a bundled name or a folder), `prompt` or `tokenIds`, `cells` ([{address, index}]), `newTokens`.
Answer: `token_ids`, `tokens`, `values` (one for each cell, null for minus infinity), `greedy_ids`.
"""

import json
import math
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama import modeling_llama
from transformers.utils import logging

BUNDLED = Path(__file__).resolve().parents[2] / "glassformer" / "bundled"


def compute_sites(model, ids):
    """Every site of a Llama-shaped model by address: one forward, read with plain hooks. Batch axis removed."""
    sites = {}
    rotated = []
    d_head = model.config.head_dim

    def split_heads(row):  # [pos, head x d_head] -> [head, pos, d_head]
        return row.unflatten(-1, (-1, d_head)).transpose(0, 1)

    def keep_output(address, change=lambda tensor: tensor):
        def hook(module, args, output):
            sites[address] = change((output[0] if isinstance(output, tuple) else output)[0])

        return hook

    def keep_input(address, change=lambda tensor: tensor):
        def hook(module, args, kwargs=None):
            sites[address] = change(args[0][0])

        return hook

    model.model.embed_tokens.register_forward_hook(keep_output("embeddings"))
    model.model.norm.register_forward_hook(keep_output("final_norm"))
    for number, block in enumerate(model.model.layers):
        attention, mlp = block.self_attn, block.mlp
        block.input_layernorm.register_forward_hook(keep_output(f"attn_in.{number}"))
        attention.v_proj.register_forward_hook(keep_output(f"v.{number}", split_heads))
        attention.o_proj.register_forward_pre_hook(keep_input(f"z.{number}", split_heads))
        attention.o_proj.register_forward_hook(keep_output(f"attn_out.{number}"))
        block.post_attention_layernorm.register_forward_pre_hook(keep_input(f"resid_mid.{number}"))
        block.post_attention_layernorm.register_forward_hook(keep_output(f"mlp_in.{number}"))
        mlp.gate_proj.register_forward_hook(keep_output(f"mlp_pre.{number}"))
        mlp.up_proj.register_forward_hook(keep_output(f"mlp_pre_linear.{number}"))
        mlp.down_proj.register_forward_pre_hook(keep_input(f"mlp_act.{number}"))
        mlp.register_forward_hook(keep_output(f"mlp_out.{number}"))
        block.register_forward_pre_hook(keep_input(f"resid_pre.{number}"))
        block.register_forward_hook(keep_output(f"resid_post.{number}"))

    rotate = modeling_llama.apply_rotary_pos_emb

    def rotate_and_keep(*args, **kwargs):
        rotated.append(rotate(*args, **kwargs))
        return rotated[-1]

    modeling_llama.apply_rotary_pos_emb = rotate_and_keep
    with torch.no_grad():
        out = model(ids, output_attentions=True)
    modeling_llama.apply_rotary_pos_emb = rotate
    for number, (query, key) in enumerate(rotated):
        sites[f"q.{number}"], sites[f"k.{number}"] = query[0], key[0]
        sites[f"attn_probs.{number}"] = out.attentions[number][0]
        repeated = key[0].repeat_interleave(len(query[0]) // len(key[0]), dim=0)
        scores = query[0] @ repeated.transpose(1, 2) / math.sqrt(d_head)
        later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        sites[f"attn_scores.{number}"] = scores.masked_fill(later, -torch.inf)
    sites["lm_head"] = out.logits[0]
    return sites


def read_cell(cell, sites, weights):
    tensor = sites[cell["address"]] if cell["address"] in sites else weights[cell["address"]]
    value = tensor[tuple(cell["index"])].item()
    return value if math.isfinite(value) else None


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    question = json.load(sys.stdin)
    folder = BUNDLED / question["model"]
    folder = folder if folder.is_dir() else Path(question["model"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    ids = question.get("tokenIds") or tokenizer(question["prompt"])["input_ids"]
    batch = torch.tensor([ids])
    values, greedy = [], []
    if question.get("newTokens"):
        out = model.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            max_new_tokens=question["newTokens"],
            do_sample=False,
        )
        greedy = out[0, len(ids) :].tolist()
    if question.get("cells"):
        sites, weights = compute_sites(model, batch), model.state_dict()
        values = [read_cell(cell, sites, weights) for cell in question["cells"]]
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
