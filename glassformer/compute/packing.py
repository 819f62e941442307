"""Many sequences in one forward: one row of tokens, each sequence attending to its own keys and values.

Every linear layer is then shared among the sequences (continuous batching: Yu et al. 2022, "Orca", section 4).
Whether a model's sequences can share a row is found out by trying it, never by the model's name.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicSlidingWindowLayer

from glassformer.compute.attention import NAME
from glassformer.compute.computing import computing
from glassformer.compute.generate import make_first_arguments, takes_positions
from glassformer.compute.hooking import hook_input, hook_output
from glassformer.compute.key_value import KeyValueStore, PackedSpan
from glassformer.compute.key_value_batch import BatchedRows, KeyValueBatches
from glassformer.compute.library import find_cache_name
from glassformer.compute.likeness import is_rounding, measure_change
from glassformer.compute.packed_row import Pattern, packing
from glassformer.compute.position_limit import list_limits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# Rotary frequencies of these kinds depend on the longest position in a forward, so a long sequence would turn the
# queries and keys of the short ones beside it (transformers documentation, "Utilities for Rotary Embedding").
LENGTH_DEPENDENT_ROPES = frozenset({"dynamic", "longrope"})
# The texts that are tried, by the rows they have in each of some forwards: pieces of prompts and single tokens.
PROBES = ((4, 6, 1, 0), (6, 1, 1, 1), (2, 5, 1, 1), (1, 1, 1, 1))
# Up to here a probe is as long as such a number; beyond, it only stands at positions as far on.
LONGEST_PROBE = 64


def compute_packed(
    model: PreTrainedModel,
    ids: Sequence[int],
    positions: Sequence[int],
    spans: Sequence[PackedSpan],
    rows: Sequence[int],
    batches: Sequence[BatchedRows] = (),
) -> Tensor:
    """Run one packed row of `ids` at `positions`, made of `spans`; the logits of `rows`, Float[Tensor, "row vocab"].

    The spans of `batches` attend together.

    Raises NotPackable where the model's attention does not allow it.
    """
    arguments: dict[str, Any] = {
        "input_ids": torch.tensor([ids], device=model.device),
        # Without it transformers would guess from the positions where sequences begin.
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=model.device),
        "position_ids": torch.tensor([positions], device=model.device),
        "use_cache": False,
    }
    # One row at least: some heads cannot take none.
    kept = torch.tensor(rows or [0], device=model.device)
    keeps_rows = takes_rows(type(model).forward)
    if keeps_rows:
        arguments["logits_to_keep"] = kept
    with packing(spans, batches):
        logits: Tensor = model(**arguments).logits[0]
    if not keeps_rows:
        logits = logits[kept]
    return logits[: len(rows)]


@cache
def takes_rows(forward: Callable[..., Any]) -> bool:
    """Whether a model's forward can be told for which rows to compute logits."""
    return "logits_to_keep" in inspect.signature(forward).parameters


def find_packing_fault(model: PreTrainedModel, *, vocab: int, context: int) -> str | None:
    """Why sequences cannot share a forward of `model`, a clause without its full stop; None where they can."""
    if model.config._attn_implementation != NAME:
        return "its attention is computed outside the shared interface"
    ropes = find_rope_types(model.config) & LENGTH_DEPENDENT_ROPES
    if ropes:
        return f"its rotary embedding depends on the longest sequence ({', '.join(sorted(ropes))})"
    if not takes_positions(type(model).forward):
        return "it does not take positions"
    if context < max(map(sum, PROBES)):
        return "its context is too short to try"
    try:
        with computing(1, "probes"):
            return try_packing(model, vocab=vocab, context=context)
    except Exception as exc:
        log.debug("a packed forward failed", exc_info=exc)
        return f"a packed forward fails ({type(exc).__name__})"


def try_packing(model: PreTrainedModel, *, vocab: int, context: int) -> str | None:
    """Run what shows whether sequences can share a forward. Raises what a packed forward raises."""
    fault = find_cache_fault(model, context=context)
    if fault is not None:
        return fault
    change = measure_packing(model, vocab=vocab, lengths=find_lengths(model.config, context))
    if not is_rounding(change, model.dtype):
        return f"a packed forward changes its logits by {change:.2g} of their size"
    return None


@torch.inference_mode()
def measure_packing(model: PreTrainedModel, *, vocab: int, lengths: Collection[int] = ()) -> float:
    """How much packing changes the logits of some probes (`likeness.measure_change`).

    The probes are computed alone, then together; `lengths` say where else they have to be than at the beginning.
    """
    generator = torch.Generator().manual_seed(0)
    placed = place_probes(lengths)
    probes = [torch.randint(vocab, (sum(counts),), generator=generator).tolist() for counts, _ in placed]
    expected = [
        compute_alone(model, probe, offset).float() for probe, (_, offset) in zip(probes, placed, strict=True)
    ]
    stores, batches = [KeyValueStore() for _ in probes], KeyValueBatches()
    seen = [0] * len(probes)
    changes: list[float] = []
    for counts in zip(*(counts for counts, _ in placed), strict=True):
        ids: list[int] = []
        positions: list[int] = []
        spans: list[PackedSpan] = []
        for which, count in enumerate(counts):
            start, seen[which] = seen[which], seen[which] + count
            if count:
                spans.append(PackedSpan(slice(len(ids), len(ids) + count), start, stores[which]))
                ids += probes[which][start : start + count]
                offset = placed[which][1]
                positions += range(offset + start, offset + start + count)
        together = batches.arrange(spans, model.device)
        logits = compute_packed(model, ids, positions, spans, range(len(ids)), together).float()
        for span in spans:
            rows = expected[stores.index(span.store)][span.start : span.stop]
            changes.append(measure_change(logits[span.rows], rows))
    return math.nan if any(map(math.isnan, changes)) else max(changes)


def place_probes(lengths: Collection[int]) -> list[tuple[tuple[int, ...], int]]:
    """The probes, as rows in each forward, and the positions at which they begin.

    One is longer than each of `lengths` that is short enough; for each that is not, one begins just before it.
    """
    far = [length - 3 for length in sorted(lengths) if length > LONGEST_PROBE]
    near = max((length for length in lengths if length <= LONGEST_PROBE), default=0)
    first, *others = PROBES
    # The first stays at the beginning, beside those that are far on.
    offsets = (far * len(others))[: max(len(far), len(others))] or [0] * len(others)
    placed: list[tuple[tuple[int, ...], int]] = [(first, 0)]
    placed += [(others[i % len(others)], offset) for i, offset in enumerate(offsets)]
    return [*placed, ((max(near - 2, 2), 6, 1, 1), 0)] if near else placed


def compute_alone(model: PreTrainedModel, ids: Sequence[int], offset: int) -> Tensor:
    """One whole forward of a text that begins at position `offset`, [pos, vocab]."""
    logits: Tensor = model(
        input_ids=torch.tensor([ids], device=model.device),
        position_ids=torch.arange(offset, offset + len(ids), device=model.device)[None],
        attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=model.device),
        use_cache=False,
    ).logits[0]
    return logits


def find_lengths(config: Any, context: int) -> set[int]:
    """The numbers in a config at which a model may compute something else, as far as its context reaches them."""
    longest = max(map(sum, PROBES)) + 1
    return {limit.position for limit in list_limits(config, context) if limit.position <= context - longest}


@torch.inference_mode()
def find_cache_fault(model: PreTrainedModel, *, context: int) -> str | None:
    """What the model's own cache does that positions do not tell, as a packed row has none; None where nothing.

    Its blocks ask it how long the text is (for the temperature of Llama 4), or it forgets what their masks would still
    show (Moshi). Both are seen in a text of three tokens, however large the numbers in the config.
    """
    ids = torch.arange(3, device=model.device)[None]
    arguments = make_first_arguments(model, ids)
    cache = arguments.get(find_cache_name(model))
    if not isinstance(cache, Cache):
        return None
    if count_questions(model, cache, {"input_ids": ids, **arguments}):
        return "its blocks ask the cache how long the text is"
    forgetful = {
        index: layer.sliding_window
        for index, layer in enumerate(cache.layers)
        if isinstance(layer, DynamicSlidingWindowLayer) and layer.sliding_window < context
    }
    patterns: dict[int, Pattern] = {}
    span = PackedSpan(slice(0, 1), 0, KeyValueStore())
    with packing([span]) as packed:
        packed.on_pattern = lambda module, pattern: patterns.update({cast(int, module.layer_idx): pattern})
        model(
            input_ids=ids[:, :1],
            attention_mask=torch.ones(1, 1, dtype=torch.long, device=model.device),
            position_ids=ids[:, :1],
            use_cache=False,
        )
    for index, pattern in patterns.items():
        if index not in forgetful:
            continue
        mask = pattern.mask(PackedSpan(span.rows, forgetful[index], span.store))
        if mask is None or bool(mask[..., 0].any()):
            return "its cache forgets what its attention would still see"
    return None


def count_questions(model: nn.Module, cache: Cache, arguments: dict[str, Any]) -> int:
    """How often a forward asks `cache` for its length from inside of a block."""
    depth = asked = 0
    ask = cache.get_seq_length

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += depth > 0
        return ask(*args, **kwargs)

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                stack.callback(hook_input(module, enter).remove)
                stack.callback(hook_output(module, leave).remove)
        cache.get_seq_length = count  # type: ignore[method-assign]
        model(**arguments)
    return asked


def find_rope_types(config: Any) -> set[str]:
    """The kinds of rotary embedding that a config declares, for all its layer types."""
    text_config = config.get_text_config(decoder=True)
    declared = (
        getattr(text_config, "rope_parameters", None) or getattr(text_config, "rope_scaling", None) or {}
    )
    each = [declared, *(value for value in declared.values() if isinstance(value, dict))]
    return {str(one.get("rope_type", one.get("type", "default"))) for one in each}
