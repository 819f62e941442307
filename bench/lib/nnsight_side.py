"""nnsight's side: the same sites by the model's own module paths; one site with the run stopped once it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nnsight import NNsight
from torch import Tensor
from transformers import AutoModelForCausalLM

from lib.side import Question, answer


def make_questions(folder: Path) -> dict[str, Question]:
    model: Any = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    )
    middle = len(model.model.layers) // 2
    seen: Any = NNsight(model)

    def run_mlp(token_ids: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode(), seen.trace(token_ids, use_cache=False) as tracer:
            value = seen.model.layers[middle].mlp.down_proj.input.save()
            tracer.stop()
        return {"mlp_act": value}

    def run_head(token_ids: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode(), seen.trace(token_ids, use_cache=False) as tracer:
            value = seen.model.layers[middle].self_attn.output[1][0, :1].clone().save()
            tracer.stop()
        return {"attn_probs": value}

    def run_all(token_ids: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode(), seen.trace(token_ids, use_cache=False):
            kept = [].save()  # type: ignore[attr-defined]
            kept.append(seen.model.embed_tokens.output)
            for block in seen.model.layers:
                attention, mlp = block.self_attn, block.mlp
                kept.append(block.input)
                kept.append(block.input_layernorm.output)
                call = attention.source.attention_interface_1
                kept.extend(call.inputs[0][1:4])
                kept.append(call.source.nn_functional_softmax_0.input)
                kept.append(call.output[1])
                kept.append(attention.o_proj.input)
                kept.append(attention.output[0])
                kept.append(block.post_attention_layernorm.input)
                kept.append(block.post_attention_layernorm.output)
                kept.append(mlp.gate_proj.output)
                kept.append(mlp.up_proj.output)
                kept.append(mlp.down_proj.input)
                kept.append(mlp.output)
                kept.append(block.output)
            kept.append(seen.model.norm.output)
            kept.append(seen.lm_head.output)
        return {str(number): value for number, value in enumerate(kept)}

    def ask(run: Callable[[Tensor], dict[str, Tensor]], attention: str) -> Question:
        def question(token_ids: list[int]) -> Callable[[], dict[str, Tensor]]:
            model.set_attn_implementation(attention)
            return lambda: run(torch.tensor([token_ids]))

        return question

    return {
        "mlp_act": ask(run_mlp, "sdpa"),
        "attn_probs": ask(run_head, "eager"),
        "all": ask(run_all, "eager"),
    }


if __name__ == "__main__":
    answer(make_questions)
