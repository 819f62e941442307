"""TransformerLens' side: its bridge around the same model; one site with the run stopped after its block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

from lib.side import Question, answer

# Names the architecture only: with a model and a tokenizer in hand nothing of it is fetched.
ARCHITECTURE = "meta-llama/Llama-2-7b-hf"


def make_questions(folder: Path) -> dict[str, Question]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    middle = len(model.model.layers) // 2
    bridge: Any = TransformerBridge.boot_transformers(
        ARCHITECTURE, hf_model=model, tokenizer=tokenizer, device="cpu"
    )

    def run(token_ids: list[int], **chosen: Any) -> dict[str, Tensor]:
        with torch.inference_mode():
            _, cache = bridge.run_with_cache(torch.tensor([token_ids]), **chosen)
        return {name: value for name, value in cache.items() if isinstance(value, Tensor)}

    def read_one(name: str, heads: int | None) -> Question:
        def question(token_ids: list[int]) -> Callable[[], dict[str, Tensor]]:
            def timed() -> dict[str, Tensor]:
                value = run(token_ids, names_filter=name, stop_at_layer=middle + 1)[name]
                return {name: value if heads is None else value[0, :heads].clone()}

            return timed

        return question

    return {
        "mlp_act": read_one(f"blocks.{middle}.mlp.hook_post", None),
        "attn_probs": read_one(f"blocks.{middle}.attn.hook_pattern", 1),
        "all": lambda token_ids: lambda: run(token_ids),
    }


if __name__ == "__main__":
    answer(make_questions)
