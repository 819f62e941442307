"""LoRA adapters for tiny models, in the files that the library peft writes; made without it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from glassformer.loading.reading import BUILDING


def read_plainly(folder: Path) -> Any:
    """A model as transformers reads it."""
    auto: Any = AutoModelForCausalLM
    with BUILDING:
        return auto.from_pretrained(folder, dtype=torch.float32).eval()


def make_adapter(
    base: Path,
    folder: Path,
    *,
    names: tuple[str, ...] = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "c_attn", "c_fc"),
    rank: int = 4,
    alpha: float = 8.0,
    seed: int = 0,
    size: float = 0.2,
    more: dict[str, Tensor] | None = None,
    model: nn.Module | None = None,
    **config: Any,
) -> Path:
    """An adapter in `folder` that changes the linear maps of the model in `base` that are called by one of `names`.

    `model` is that model, where it is not read as a causal one.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = dict(more or {})
    for name, module in (model or read_plainly(base)).named_modules():
        if name.rpartition(".")[2] not in names or not isinstance(module, (nn.Linear, Conv1D)):
            continue
        d_in, d_out = module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
        for part, shape in (("A", (rank, d_in)), ("B", (d_out, rank))):
            key = f"base_model.model.{name}.lora_{part}.weight"
            tensors[key] = size * torch.randn(shape, generator=generator)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": f"/somewhere/else/{base.name}",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": list(names),
        "bias": "none",
        "inference_mode": True,
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder
