"""What transformers itself says about the inside of a forward: reported states, and a family's own eager attention."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from glassformer.anatomy.comparison import is_same, judge
from glassformer.compute.attention_call import AttentionCall
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.compute.shortage import is_shortage
from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.softmax import bound_softmax
from glassformer.protocol.anatomy import Check
from glassformer.structure.residual import first_tensor
from glassformer.structure.role import Refusal
from glassformer.structure.structure import Structure

log = logging.getLogger(__name__)


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
        structure.hands_patterns = bool(self.values) and is_same(self.logits, plain)
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
    values |= read_hidden_states(out, structure, first[0] if first else None)
    return Eager(out.logits[0], values)


def read_hidden_states(out: Any, structure: Structure, first: Tensor | None) -> dict[str, Tensor]:
    """The residuals that transformers reports with an output; `first` is what block 0 read."""
    hidden = [h[0] for h in getattr(out, "hidden_states", None) or () if isinstance(h, Tensor)]
    values: dict[str, Tensor] = {}
    if len(hidden) == len(structure.blocks) + 1 and all(h.shape == hidden[0].shape for h in hidden):
        # Most families list what each block reads; some (Mamba) what each block hands on.
        reads = first is not None and is_same(hidden[0], first)
        for block in range(len(structure.blocks) - 1):
            after = hidden[block + 1] if reads else hidden[block]
            values[f"resid_post.{block}"] = values[f"resid_pre.{block + 1}"] = after
    return values


def hold_to_eager(call: AttentionCall) -> Check | None:
    """Hold the probabilities of a call against those of its family's own eager function, on the same q, k and v.

    None where the family has no such function, or it does not take what it is given.
    """
    function = getattr(sys.modules.get(type(call.module).__module__), "eager_attention_forward", None)
    if function is None:
        return None
    wide = call.widened()
    dtype, scores = call.query.dtype, wide.scores()
    given = {name: value for name, value in call.given.items() if name != "dropout"}
    try:
        _, found = function(
            call.module,
            call.query[None],
            call.key[None],
            call.value[None],
            _form_mask(call, scores),
            scaling=call.scaling,
            dropout=0.0,
            **given,
        )
    except Exception as exc:
        if is_shortage(exc):
            raise
        log.debug("eager attention takes other things (%s)", type(exc).__name__)
        return None
    if not isinstance(found, Tensor) or found.dim() != 4:
        return None
    rounding = Rounding.of(dtype)
    # Products, their scale, a cap and a mask may each be stored.
    error = 6 * rounding.unit * scores.double().abs().nan_to_num(posinf=0.0) + 1e-30
    share = bound_softmax(_with_sinks(scores.double(), error, wide.sinks)).map(
        lambda tensor: tensor[..., : scores.shape[-1]]
    )
    return judge(found[0][..., : scores.shape[-1]], rounding.stored(share.value, share.error))


def _form_mask(call: AttentionCall, scores: Tensor) -> Tensor:
    """What eager functions add to their scores [head, query, key], as [1, head, query, key]."""
    if call.mask is not None and call.mask.is_floating_point():
        return call.mask[None]
    dtype = call.query.dtype
    shut = torch.isinf(scores)
    return torch.zeros_like(scores, dtype=dtype).masked_fill(shut, torch.finfo(dtype).min)[None]


def _with_sinks(scores: Tensor, error: Tensor, sinks: Tensor | None) -> Bounded:
    if sinks is None:
        return Bounded(scores, error)
    column = sinks.double().view(-1, 1, 1).expand(-1, scores.shape[1], 1)
    return Bounded(torch.cat([scores, column], -1), torch.cat([error, torch.zeros_like(column)], -1))


def _take_pattern(
    patterns: dict[int, list[Tensor]], block: int, count: int, _: nn.Module, args: Any, output: Any
) -> None:
    """Keep what looks like attention probabilities among the outputs of an attention module."""
    for item in output if isinstance(output, (tuple, list)) else ():
        if isinstance(item, Tensor) and item.dim() == 4 and item.shape[2:] == (count, count):
            if float(item.min()) < 0.0 or float(item.sum(-1).max()) > 1.01:
                continue
            patterns.setdefault(block, []).append(item[0])
