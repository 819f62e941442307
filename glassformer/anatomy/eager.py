"""What transformers itself reports about the inside of a forward, with a family's own eager attention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from glassformer.anatomy.comparison import compare
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.structure.residual import first_tensor
from glassformer.structure.structure import Refusal, Structure


@dataclass(slots=True)
class Eager:
    """What the family's own eager attention gives: logits [pos, vocab], and sites by address."""

    logits: Tensor
    values: dict[str, Tensor]
    is_compared: bool = False

    def compare_with_plain(self, structure: Structure, token_ids: Tensor) -> None:
        """Keep the sites only where asking for them leaves what is computed as it is, which it has been seen not to.

        The model has its eager attention. What is found is kept in `structure.hands_patterns` as well.
        """
        if self.is_compared:
            return
        plain = structure.run(token_ids, output_attentions=False).logits[0]
        structure.hands_patterns = bool(self.values) and compare(self.logits, plain).status != "refused"
        if not structure.hands_patterns:
            self.values.clear()
        self.logits = self.values["lm_head"] = plain
        self.is_compared = True


def run_eager(structure: Structure, token_ids: Tensor) -> Eager:
    """Run the model with the attention it has now, keeping what transformers itself reports about its inside."""
    patterns: dict[int, list[Tensor]] = {}
    first: list[Tensor] = []

    def take_first(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first.append((args[0] if args else first_tensor(kwargs))[0].clone())

    handles = [hook_input(structure.blocks[0], take_first)]
    for block in range(len(structure.blocks)):
        attention = structure.attention(block)
        if not isinstance(attention, Refusal):
            take = partial(_take_pattern, patterns, block, len(token_ids))
            handles.append(hook_output(attention, take))
    try:
        out = structure.run(token_ids, output_attentions=True, output_hidden_states=True)
    except (TypeError, ValueError, AttributeError):
        out = None
    finally:
        for handle in handles:
            handle.remove()
    if out is None:
        plain = structure.run(token_ids, output_attentions=False).logits[0]
        structure.hands_patterns = False
        return Eager(plain, {"lm_head": plain}, is_compared=True)
    structure.hands_patterns = True
    values: dict[str, Tensor] = {"lm_head": out.logits[0]}
    for block, found in patterns.items():
        if len(found) == 1:
            values[f"attn_probs.{block}"] = found[0]
    hidden = [h[0] for h in getattr(out, "hidden_states", None) or () if isinstance(h, Tensor)]
    if len(hidden) == len(structure.blocks) + 1 and all(h.shape == hidden[0].shape for h in hidden):
        # Most families list what each block reads; some (Mamba) what each block hands on.
        reads = bool(first) and compare(hidden[0], first[0]).status != "refused"
        for block in range(len(structure.blocks) - 1):
            after = hidden[block + 1] if reads else hidden[block]
            values[f"resid_post.{block}"] = values[f"resid_pre.{block + 1}"] = after
    return Eager(out.logits[0], values)


def _take_pattern(
    patterns: dict[int, list[Tensor]], block: int, count: int, _: nn.Module, args: Any, output: Any
) -> None:
    """Keep what looks like attention probabilities among the outputs of an attention module."""
    for item in output if isinstance(output, (tuple, list)) else ():
        if isinstance(item, Tensor) and item.dim() == 4 and item.shape[2:] == (count, count):
            if float(item.min()) < 0.0 or float(item.sum(-1).max()) > 1.01:
                continue
            patterns.setdefault(block, []).append(item[0])
