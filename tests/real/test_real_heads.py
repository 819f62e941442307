"""All heads of the real model at a glance, against the patterns of its eager attention in transformers."""

import sys
from pathlib import Path

import pytest
import torch
from tiny import read_model

import glassformer

sys.path.append(str(Path(__file__).parents[1] / "reading"))

from plain_heads import score_block

from glassformer.reading.head_scores import score_heads

pytestmark = pytest.mark.real

KINDS = ("previous", "first", "induction", "duplicate", "entropy_bits", "entropy_share")
# Eager attention in bfloat16 rounds its scores, ours does not.
ROUNDING = {"float32": 2e-4, "bfloat16": 5e-2}


def test_every_score_of_every_head_is_transformers_own(
    model: glassformer.Model, folder: Path, dtype: str, token_ids: list[int]
) -> None:
    eager = read_model(folder, dtype=getattr(torch, dtype), attn_implementation="eager")
    with torch.inference_mode():
        patterns = eager(torch.tensor([token_ids]), output_attentions=True, use_cache=False).attentions
    trace = model.trace(token_ids=token_ids)
    assert trace.live is not None
    found = score_heads(trace.live)
    assert (found.refused, len(found.blocks)) == ([], len(patterns))
    for one, pattern in zip(found.blocks, patterns, strict=True):
        over, heads = score_block(pattern[0].float(), token_ids)
        assert one.over.model_dump() == over
        for head, expected in zip(one.heads, heads, strict=True):
            told = [getattr(head, kind) for kind in KINDS]
            assert told == pytest.approx([expected[kind] for kind in KINDS], abs=ROUNDING[dtype])
    # It has heads of each kind, found by others in models of this size as well.
    for kind in KINDS[:4]:
        assert max(getattr(head, kind) for one in found.blocks for head in one.heads) > 0.5, kind
