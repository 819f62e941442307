"""What transformers and PyTorch alone make of the real model: plain hooks on its own modules, with SDPA.

Imports nothing of glassformer, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers.models.llama import modeling_llama

Sites = dict[str, list[Tensor]]
# What hooks hear, in order of computation.
POINTS = tuple(
    "resid_pre attn_in q k v z attn_out resid_mid mlp_in mlp_pre mlp_pre_linear mlp_act mlp_out resid_post".split()
)


@contextmanager
def hooked(model: Any, blocks: Sequence[int]) -> Iterator[Sites]:
    """Keep what `blocks` compute, by address, one tensor a forward, without the batch axis.

    Queries and keys are heard where they have been rotated, which is no module's.
    """
    found: Sites = {}
    width = model.config.head_dim
    turn: list[int] = []

    def split(row: Tensor) -> Tensor:  # [pos, head x d_head] -> [head, pos, d_head]
        return row.unflatten(-1, (-1, width)).transpose(0, 1)

    def keep(address: str, tensor: Tensor) -> None:
        found.setdefault(address, []).append(tensor[0].clone())

    def leaving(address: str, change: Callable[[Tensor], Tensor] = lambda row: row) -> Callable[..., None]:
        return lambda _, args, out: keep(
            address, change((out[0] if isinstance(out, tuple) else out)[0])[None]
        )

    def entering(address: str, change: Callable[[Tensor], Tensor] = lambda row: row) -> Callable[..., None]:
        return lambda _, args: keep(address, change(args[0][0])[None])

    rotate = modeling_llama.apply_rotary_pos_emb

    def rotate_and_keep(*args: Any, **kwargs: Any) -> Any:
        query, key = rotate(*args, **kwargs)
        if turn:
            keep(f"q.{turn[-1]}", query)
            keep(f"k.{turn[-1]}", key)
        return query, key

    def begin(number: int) -> Callable[..., None]:
        return lambda *_: turn.append(number)

    with ExitStack() as stack:
        for number in blocks:
            block = model.model.layers[number]
            attention, mlp = block.self_attn, block.mlp
            for handle in (
                block.register_forward_pre_hook(entering(f"resid_pre.{number}")),
                block.register_forward_pre_hook(begin(number)),
                block.input_layernorm.register_forward_hook(leaving(f"attn_in.{number}")),
                attention.v_proj.register_forward_hook(leaving(f"v.{number}", split)),
                attention.o_proj.register_forward_pre_hook(entering(f"z.{number}", split)),
                attention.o_proj.register_forward_hook(leaving(f"attn_out.{number}")),
                attention.register_forward_hook(lambda *_: turn.clear()),
                block.post_attention_layernorm.register_forward_pre_hook(entering(f"resid_mid.{number}")),
                block.post_attention_layernorm.register_forward_hook(leaving(f"mlp_in.{number}")),
                mlp.gate_proj.register_forward_hook(leaving(f"mlp_pre.{number}")),
                mlp.up_proj.register_forward_hook(leaving(f"mlp_pre_linear.{number}")),
                mlp.down_proj.register_forward_pre_hook(entering(f"mlp_act.{number}")),
                mlp.register_forward_hook(leaving(f"mlp_out.{number}")),
                block.register_forward_hook(leaving(f"resid_post.{number}")),
            ):
                stack.callback(handle.remove)
        stack.enter_context(mock.patch.object(modeling_llama, "apply_rotary_pos_emb", rotate_and_keep))
        with torch.no_grad():
            yield found


def run(model: Any, token_ids: Sequence[int], blocks: Sequence[int]) -> dict[str, Tensor]:
    """The sites of `blocks` in one forward without the head, and what the trunk hands on and its norm makes of it."""
    with hooked(model, blocks) as found:
        final = model.model(torch.tensor([list(token_ids)]), use_cache=False).last_hidden_state[0]
    return {address: rows[0] for address, rows in found.items()} | {"final_norm": final}


def run_block(model: Any, number: int, residual: Tensor) -> dict[str, Tensor]:
    """The sites of one block, fed with `residual` [pos, d_model]."""
    rows = residual[None].to(model.dtype)
    tables = model.model.rotary_emb(rows, torch.arange(len(residual))[None])
    with hooked(model, [number]) as found:
        model.model.layers[number](rows, attention_mask=None, position_embeddings=tables)
    return {address: cells[0] for address, cells in found.items()}


def write(model: Any, token_ids: Sequence[int], count: int, blocks: Sequence[int]) -> tuple[list[int], Sites]:
    """Greedy `generate()`: all token ids, and the sites of `blocks` in each of its forwards."""
    given = torch.tensor([list(token_ids)])
    with hooked(model, blocks) as found:
        out = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=count, do_sample=False
        )
    return out[0].tolist(), found
