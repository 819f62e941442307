"""What each part adds to a logit, by plain PyTorch: autograd through the model with its norms held to their sizes.

Nothing of the product is used. Inputs of attention and MLP are detached, so that a gradient reaches what a part writes
along the stream alone; then a part adds its gradient times what it wrote.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

ATTENTION = ("self_attn", "attn", "attention", "linear_attn", "mamba", "mixer")
OUT = ("o_proj", "c_proj", "out_proj", "dense", "wo")
MLP = ("mlp", "feed_forward", "block_sparse_moe", "ffn")


@dataclass
class PlainSums:
    """The parts of `logits` @ `weights`, by kind, block and number; `hidden` [boundary, pos, d_model].

    `sizes` are the sums of the terms' sizes, by which rounding may be measured.
    """

    values: dict[tuple[str, int | None, int | None], float] = field(default_factory=dict)
    logit: float = 0.0
    hidden: list[Tensor] = field(default_factory=list)
    attentions: dict[int, Tensor] = field(default_factory=dict)
    written: dict[Any, Tensor] = field(default_factory=dict)
    sizes: dict[Any, float] = field(default_factory=dict)


def find_blocks(model: PreTrainedModel) -> list[nn.Module]:
    count = model.config.get_text_config().num_hidden_layers
    return list(next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count))


def find_child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    children = dict(module.named_children())
    return next((children[name] for name in names if name in children), None)


def hold_size(norm: nn.Module, given: Tensor) -> Tensor:
    """What a norm, in float32, gives as a linear map of its input: the size it divides by is a constant."""
    with torch.no_grad():
        # Two inputs that differ by their mean alone tell a layer norm from an RMS norm.
        centres = torch.allclose(norm(given + 1.0), norm(given), atol=1e-4) and given.std() > 0.05
        centred = given - given.mean(-1, keepdim=True) if centres else given
        shift = norm(torch.zeros_like(given))
        gain = torch.where(centred.abs() > 1e-30, (norm(given) - shift) / centred, 0.0)
    moved = given - given.mean(-1, keepdim=True) if centres else given
    return moved * gain + shift


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def add_up(
    model: PreTrainedModel,
    token_ids: Tensor,
    pos: int,
    weights: Tensor,
    *,
    heads: int,
    written: dict[Any, Tensor] | None = None,
) -> PlainSums:
    """Every part of the logits at `pos` weighed by `weights` [vocab]. The model has eager attention.

    `written` is what the parts wrote in another run, to be taken in place of what they write in this one.
    """
    found, taps = PlainSums(), {}
    handles: list[Any] = []

    def tap(key: Any, value: Tensor) -> Tensor:
        """A value whose gradient is wanted, as a leaf of its own; what it was made of is added by nothing."""
        found.written[key] = value.detach().clone()
        taps[key] = (found.written[key] if written is None else written[key].to(value.dtype)).requires_grad_()
        return taps[key]

    def detach_input(_: nn.Module, args: Any, kwargs: Any) -> Any:
        loose = [a.detach() if isinstance(a, Tensor) else a for a in args]
        return tuple(loose), {k: v.detach() if isinstance(v, Tensor) else v for k, v in kwargs.items()}

    def enter(index: int) -> Any:
        def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
            given = args[0] if args else kwargs["hidden_states"]
            found.hidden.append(given.detach()[0])
            if index:
                return None
            start = tap(("embedding", None, None), given)
            return ((start, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": start})

        return before

    def join_heads(index: int) -> Any:
        def before(_: nn.Module, args: Any) -> Any:
            return (tap(("z", index, None), args[0]), *args[1:])

        return before

    def write(kind: str, index: int) -> Any:
        def after(_: nn.Module, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (tap((kind, index, None), output[0]), *output[1:])
            return tap((kind, index, None), output)

        return after

    blocks = find_blocks(model)
    for index, block in enumerate(blocks):
        handles.append(block.register_forward_pre_hook(enter(index), with_kwargs=True))
        attention, mlp = find_child(block, ATTENTION), find_child(block, MLP)
        for part in (attention, mlp):
            if part is not None:
                handles.append(part.register_forward_pre_hook(detach_input, with_kwargs=True))
        out = None if attention is None else find_child(attention, OUT)
        if attention is not None and out is not None and not hasattr(attention, "conv1d"):
            handles.append(out.register_forward_pre_hook(join_heads(index)))
        elif attention is not None:
            handles.append(attention.register_forward_hook(write("mixer", index)))
        if mlp is not None:
            handles.append(mlp.register_forward_hook(write("mlp", index)))
    inside = {
        id(m)
        for b in blocks
        for p in (find_child(b, ATTENTION), find_child(b, MLP))
        if p
        for m in p.modules()
    }

    def hold(norm: nn.Module, args: Any, output: Tensor) -> Any:
        return hold_size(wide[norm], args[0].float()).to(output.dtype)

    norms = [m for m in model.modules() if "norm" in type(m).__name__.lower() and id(m) not in inside]
    wide = {norm: copy.deepcopy(norm).float() for norm in norms}
    handles += [norm.register_forward_hook(hold) for norm in norms]
    with torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(hooked(handles))
        out = model(input_ids=token_ids[None], use_cache=False, output_attentions=True)
        logit = (out.logits[0, pos].double() * weights).sum()
        grads = torch.autograd.grad(logit, list(taps.values()), allow_unused=True)
    found.logit = float(logit.detach())
    for (key, value), grad in zip(taps.items(), grads, strict=True):
        if grad is None:
            continue
        product = (grad[0, pos].double() * value[0, pos].double()).detach()
        if key[0] == "z":
            for head, part in enumerate(product.view(heads, -1).sum(-1).tolist()):
                found.values["head", key[1], head] = part
                found.sizes["head", key[1], head] = float(product.view(heads, -1)[head].abs().sum())
        else:
            found.values[key], found.sizes[key] = float(product.sum()), float(product.abs().sum())
    attentions = [a for a in out.attentions or () if isinstance(a, Tensor)]
    if len(attentions) == len(blocks):
        found.attentions = {index: a[0].detach() for index, a in enumerate(attentions)}
    return found
