"""The plain way: PyTorch hooks on transformers' own model, a whole forward for whatever is wanted.

Attention is PyTorch's fused one unless probabilities are wanted, which only the eager one gives; logits are computed
for the last position alone unless they are wanted. Hooks reach neither scores nor queries and keys after rotary.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from lib.side import Question, answer

# What is read of each block: a module, and whether its input or (an item of) its output.
BLOCK_SITES: dict[str, tuple[str, str | int]] = {
    "resid_pre": ("", "input"),
    "attn_in": ("input_layernorm", 0),
    "q_proj": ("self_attn.q_proj", 0),
    "k_proj": ("self_attn.k_proj", 0),
    "v": ("self_attn.v_proj", 0),
    "attn_probs": ("self_attn", 1),
    "z": ("self_attn.o_proj", "input"),
    "attn_out": ("self_attn", 0),
    "resid_mid": ("post_attention_layernorm", "input"),
    "mlp_in": ("post_attention_layernorm", 0),
    "mlp_pre": ("mlp.gate_proj", 0),
    "mlp_pre_linear": ("mlp.up_proj", 0),
    "mlp_act": ("mlp.down_proj", "input"),
    "mlp_out": ("mlp", 0),
    "resid_post": ("", 0),
}


def make_questions(folder: Path) -> dict[str, Question]:
    model: Any = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    )
    blocks = list(model.model.layers)
    middle = len(blocks) // 2

    def run(
        wanted: list[tuple[str, int]], token_ids: list[int], *, logits_to_keep: int = 1
    ) -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}
        with ExitStack() as hooks, torch.inference_mode():
            for point, number in wanted:
                name, side = BLOCK_SITES[point]
                handle = hook(blocks[number].get_submodule(name), side, f"{point}.{number}", kept)
                hooks.callback(handle.remove)
            out = model(
                torch.tensor([token_ids]),
                use_cache=False,
                logits_to_keep=logits_to_keep,
                output_hidden_states=not logits_to_keep,
            )
        if not logits_to_keep:
            kept |= {
                "lm_head": out.logits,
                "embeddings": out.hidden_states[0],
                "final_norm": out.hidden_states[-1],
            }
        return kept

    def read_mlp(token_ids: list[int]) -> Callable[[], dict[str, Tensor]]:
        model.set_attn_implementation("sdpa")
        return lambda: run([("mlp_act", middle)], token_ids)

    def read_head(token_ids: list[int]) -> Callable[[], dict[str, Tensor]]:
        model.set_attn_implementation("eager")
        address = f"attn_probs.{middle}"
        return lambda: {address: run([("attn_probs", middle)], token_ids)[address][0, :1].clone()}

    def read_all(token_ids: list[int]) -> Callable[[], dict[str, Tensor]]:
        model.set_attn_implementation("eager")
        wanted = [(point, number) for number in range(len(blocks)) for point in BLOCK_SITES]
        return lambda: run(wanted, token_ids, logits_to_keep=0)

    return {"mlp_act": read_mlp, "attn_probs": read_head, "all": read_all}


def hook(module: nn.Module, side: str | int, address: str, kept: dict[str, Tensor]) -> Any:
    """Keep what a module is given or gives; returns the handle of the hook."""

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kept[address] = args[0] if args else kwargs["hidden_states"]

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        kept[address] = output[side] if isinstance(output, tuple) else output

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


if __name__ == "__main__":
    answer(make_questions)
