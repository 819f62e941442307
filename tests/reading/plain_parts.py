"""Parts switched off by hand: one whole forward of transformers' own model a part, under plain PyTorch hooks.

Knows the modules of each family by name, and nothing of Glassformer.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Names:
    """Where a family keeps its parts: in each block the attention or mixer, what it writes with, and the MLP."""

    blocks: str
    attention: tuple[str, ...] = ("self_attn",)
    out: str = "o_proj"
    mlp: tuple[str, ...] = ("mlp",)
    experts: str | None = None
    # Whether the attention module gives what attention writes; else its last projection does.
    gives: bool = True


LLAMA = Names("model.layers")
SPARSE = Names("model.layers", experts="mlp.experts")
NEOX = Names("gpt_neox.layers", ("attention",), "dense")
FAMILIES = {
    "llama": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "qwen3": LLAMA,
    "cohere": LLAMA,
    "olmo2": LLAMA,
    "granite": LLAMA,
    "glm4": LLAMA,
    "gpt_oss": SPARSE,
    "mixtral": SPARSE,
    "qwen3_moe": SPARSE,
    "deepseek_v3": SPARSE,
    "phi": Names("model.layers", out="dense"),
    "gpt2": Names("transformer.h", ("attn",), "c_proj"),
    "gpt_neox": NEOX,
    "opt": Names("model.decoder.layers", out="out_proj", mlp=("fc2",)),
    "bloom": Names("transformer.h", ("self_attention",), "dense", mlp=("mlp.dense_4h_to_h",), gives=False),
    "falcon": Names("transformer.h", ("self_attention",), "dense"),
    "mpt": Names("transformer.blocks", ("attn",), "out_proj", mlp=("ffn.down_proj",)),
    "gptj": Names("transformer.h", ("attn",), "out_proj"),
    "llama4_text": Names("model.layers", mlp=("feed_forward",)),
    "jamba": Names(
        "model.layers", ("self_attn", "mamba"), mlp=("feed_forward",), experts="feed_forward.experts"
    ),
    "mamba": Names("backbone.layers", ("mixer",), mlp=()),
    "qwen3_next": Names("model.layers", ("self_attn", "linear_attn"), experts="mlp.experts"),
    "falcon_h1": Names("model.layers", mlp=("feed_forward",)),
}


class PlainParts:
    """A model with eager attention, and how a text of `ids` comes out without some of its parts at position `pos`."""

    def __init__(self, model: Any, names: Names, ids: list[int], pos: int, *, mean: bool = False) -> None:
        self.model, self.names, self.ids, self.pos, self.mean = model, names, ids, pos, mean
        self.blocks = list(model.get_submodule(names.blocks))

    @torch.no_grad()
    def logits(self, *parts: str) -> Tensor:
        """Logits [vocab] at the position without the parts of those names."""
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(self.off(part))
            return (
                self.model(input_ids=torch.tensor([self.ids[: self.pos + 1]]), use_cache=False)
                .logits[0, -1]
                .float()
            )

    @contextmanager
    def off(self, part: str) -> Iterator[None]:
        kind, *numbers = part.split(".")
        first, *rest = map(int, numbers)
        if kind == "token":
            handles = [self.hide(block, first) for block in self.blocks]
        elif kind == "head":
            handles = [self.blank_head(self.find_out(first), rest[0])]
        elif kind == "mlp":
            handles = [self.blank(find(self.blocks[first], self.names.mlp))]
        elif kind == "expert":
            assert self.names.experts is not None, self.blocks[first]
            handles = self.drop_expert(self.blocks[first].get_submodule(self.names.experts), rest[0])
        else:
            module = (
                find(self.blocks[first], self.names.attention) if self.names.gives else self.find_out(first)
            )
            handles = [self.blank(module)]
        yield
        for handle in handles:
            handle.remove()

    def find_out(self, block: int) -> nn.Module:
        return find(find(self.blocks[block], self.names.attention), (self.names.out,))

    def stand_in(self, rows: Tensor) -> Tensor:
        return rows[1 : self.pos].mean(0) if self.mean else torch.zeros_like(rows[0])

    def blank(self, module: nn.Module) -> Any:
        def after(_: nn.Module, args: Any, output: Any) -> Any:
            changed = (output[0] if isinstance(output, tuple) else output).clone()
            rows = changed.view(-1, changed.shape[-1])
            rows[self.pos] = self.stand_in(rows)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return module.register_forward_hook(after)

    def blank_head(self, out: nn.Module, head: int) -> Any:
        def before(_: nn.Module, args: Any) -> Any:
            changed = args[0].clone()
            rows = changed.view(self.pos + 1, self.model.config.num_attention_heads, -1)
            rows[self.pos, head] = self.stand_in(rows[:, head])
            return (changed, *args[1:])

        return out.register_forward_pre_hook(before)

    def drop_expert(self, experts: nn.Module, expert: int) -> list[Any]:
        """The experts again without one, and the difference taken from the output."""
        inside = False

        def after(module: nn.Module, args: Any, output: Tensor) -> Any:
            nonlocal inside
            if inside:
                return None
            hidden, chosen, weights = args
            is_of = (
                chosen == expert
                if weights.shape == chosen.shape
                else torch.arange(weights.shape[-1]) == expert
            )
            inside = True
            alone = module(hidden, chosen, weights * is_of)
            inside = False
            changed = output.clone()
            changed.view(-1, changed.shape[-1])[self.pos] -= alone.view(-1, alone.shape[-1])[self.pos]
            if self.mean:
                changed.view(-1, changed.shape[-1])[self.pos] += self.stand_in(
                    alone.view(-1, alone.shape[-1])
                )
            return changed

        return [experts.register_forward_hook(after)]

    def hide(self, block: nn.Module, key: int) -> Any:
        def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
            mask = kwargs["attention_mask"].clone()
            mask[..., self.pos, key] = mask[..., 0, -1]  # what the future is to the past
            return args, {**kwargs, "attention_mask": mask}

        return find(block, self.names.attention).register_forward_pre_hook(before, with_kwargs=True)


def find(holder: nn.Module, names: tuple[str, ...]) -> nn.Module:
    for name in names:
        found: Any = holder
        for piece in name.split("."):
            found = getattr(found, piece, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise AssertionError(f"none of {names}")
