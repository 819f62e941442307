"""Many sequences in one forward: one row of tokens, each sequence attending to its own keys and values.

Every linear layer is then shared among the sequences (continuous batching: Yu et al. 2022, "Orca", section 4).
Whether a model's sequences can share a row is found out by trying it, never by the model's name.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glassformer.model.attention import NAME
from glassformer.model.key_value import KeyValueStore
from glassformer.model.key_value_batch import BatchedRows, KeyValueBatches
from glassformer.model.packed_row import Span, packing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# Rotary frequencies of these kinds depend on the longest position in a forward, so a long sequence would turn the
# queries and keys of the short ones beside it (transformers documentation, "Utilities for Rotary Embedding").
LENGTH_DEPENDENT_ROPES = frozenset({"dynamic", "longrope"})
# Largest difference a packed row may make to logits, as a share of their largest magnitude.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
# The texts that are tried, by the rows they have in each of some forwards: pieces of prompts and single tokens.
PROBES = ((4, 6, 1, 0), (6, 1, 1, 1), (2, 5, 1, 1), (1, 1, 1, 1))


def compute_packed(
    model: PreTrainedModel,
    ids: Sequence[int],
    positions: Sequence[int],
    spans: Sequence[Span],
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
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "it does not take positions"
    if context < max(map(sum, PROBES)):
        return "its context is too short to try"
    try:
        difference, scale = measure_packing(model, vocab=vocab)
    except Exception as exc:
        log.debug("a packed forward failed", exc_info=exc)
        return f"a packed forward fails ({type(exc).__name__})"
    if not is_small(difference, scale, model.dtype):
        return f"a packed forward changes its logits by {difference:.2g}"
    return None


def is_small(difference: float, scale: float, dtype: torch.dtype) -> bool:
    """Whether logits that differ by `difference`, the largest of them `scale`, are the same but for rounding."""
    return difference <= TOLERANCE.get(dtype, 5e-2) * max(scale, 1.0)


@torch.inference_mode()
def measure_packing(model: PreTrainedModel, *, vocab: int) -> tuple[float, float]:
    """The largest difference that packing makes to the logits of some probes, and the logits' largest magnitude.

    The probes are computed alone, then together.
    """
    generator = torch.Generator().manual_seed(0)
    probes = [torch.randint(vocab, (sum(counts),), generator=generator).tolist() for counts in PROBES]
    expected = [
        model(input_ids=torch.tensor([probe], device=model.device), use_cache=False).logits[0].float()
        for probe in probes
    ]
    stores, batches = [KeyValueStore() for _ in probes], KeyValueBatches()
    seen = [0] * len(probes)
    difference = 0.0
    for counts in zip(*PROBES, strict=True):
        ids: list[int] = []
        positions: list[int] = []
        spans: list[Span] = []
        for which, count in enumerate(counts):
            start, seen[which] = seen[which], seen[which] + count
            if count:
                spans.append(Span(slice(len(ids), len(ids) + count), start, stores[which]))
                ids += probes[which][start : start + count]
                positions += range(start, start + count)
        together = batches.arrange(spans, model.device)
        logits = compute_packed(model, ids, positions, spans, range(len(ids)), together).float()
        for span in spans:
            rows = expected[stores.index(span.store)][span.start : span.stop]
            difference = max(difference, float((logits[span.rows] - rows).abs().max()))
    return difference, max(float(rows.abs().max()) for rows in expected)


def find_rope_types(config: Any) -> set[str]:
    """The kinds of rotary embedding that a config declares, for all its layer types."""
    text_config = config.get_text_config(decoder=True)
    declared = (
        getattr(text_config, "rope_parameters", None) or getattr(text_config, "rope_scaling", None) or {}
    )
    each = [declared, *(value for value in declared.values() if isinstance(value, dict))]
    return {str(one.get("rope_type", one.get("type", "default"))) for one in each}
