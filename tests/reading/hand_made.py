"""A GPT-2 whose heads were written by hand, so that what each of them reads is known.

A position is one of 16 features, a token one of the next 16, and what a head copies goes to the 16 after those.
Block 0: head 0 reads the token before and copies it, head 1 reads the first token, heads 2 and 3 read all alike.
Block 1: head 0 looks for its own token among the copies, which stand one further on (an induction head), head 1 for its
own token (a duplicate token head, which also finds itself), heads 2 and 3 read all alike.
"""

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

SIZE = 16
WIDTH = 4 * SIZE
# Scores this far apart leave nothing to the others.
SHARP = 12.0


def make_hand_made() -> GPT2LMHeadModel:
    config = GPT2Config(n_embd=WIDTH, n_layer=2, n_head=4, n_positions=SIZE, vocab_size=SIZE)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for block in model.transformer.h:
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                layer.weight.zero_()
                layer.bias.zero_()
        model.transformer.wpe.weight.copy_(place_features(0))
        model.transformer.wte.weight.copy_(place_features(SIZE))
        identity = torch.eye(SIZE)
        first, second = (block.attn for block in model.transformer.h)
        # Query i looks like the key of i - 1.
        write_head(first.c_attn, 0, query=(0, torch.roll(identity, -1, dims=1)), key=(0, identity))
        first.c_attn.weight[SIZE : 2 * SIZE, 2 * WIDTH : 2 * WIDTH + SIZE] = identity
        first.c_proj.weight[:SIZE, 2 * SIZE : 3 * SIZE] = identity
        write_head(first.c_attn, 1, key=(0, identity))
        first.c_attn.bias[SIZE] = SHARP * SHARP
        write_head(second.c_attn, 0, query=(SIZE, identity), key=(2 * SIZE, identity))
        write_head(second.c_attn, 1, query=(SIZE, identity), key=(SIZE, identity))
    return model.requires_grad_(False)


def place_features(start: int) -> torch.Tensor:
    placed = torch.zeros(SIZE, WIDTH)
    placed[:, start : start + SIZE] = torch.eye(SIZE)
    return placed


def write_head(
    layer: nn.Module,
    head: int,
    *,
    query: tuple[int, torch.Tensor] | None = None,
    key: tuple[int, torch.Tensor] | None = None,
) -> None:
    """Have a head's queries and keys read the 16 features from a place on, through a matrix."""
    for start, given, scale in ((0, query, SHARP), (WIDTH, key, 1.0)):
        if given is not None:
            place, matrix = given
            column = start + head * SIZE
            layer.weight[place : place + SIZE, column : column + SIZE] = scale * matrix  # type: ignore[index, operator]
