"""How far what is shown can be from what the model computes: differences measured on a short prompt.

Costs a few forwards of `CHECK_TOKENS` positions. Holds the model's lock, for attention is switched meanwhile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glassformer.anatomy.measurement import make_check_prompt
from glassformer.compute.attention import select_attention, watching
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.loading.loaded import LoadedModel
from glassformer.run.run_store import RunStore

# A short prompt's residuals and one block's sites.
BUDGET_BYTES = 64 * 2**20


def measure_attention(loaded: LoadedModel) -> dict[str, float]:
    """Largest differences of the logits: watched against unwatched, and against transformers' own implementations."""
    model: Any = loaded.model
    ids = make_check_prompt(loaded.vocab, loaded.context, loaded.device)[None]
    chosen = str(model.config._attn_implementation)
    found: dict[str, float] = {}
    with loaded.lock.running(ids.numel(), "check", is_step=False), torch.inference_mode():

        def run() -> Tensor:
            logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
            return logits.float()

        own = run()
        with watching(lambda call: None):
            found["watched against unwatched"] = difference(run(), own)
        try:
            for name in ("sdpa", "eager"):
                if chosen != name and select_attention(model, name):
                    found[f"ours against transformers' {name}"] = difference(run(), own)
        finally:
            select_attention(model, chosen)
    return found


def measure_reruns(loaded: LoadedModel) -> dict[int, float]:
    """For each block, how far running it alone from its recorded input is from the recorded run."""
    ids = make_check_prompt(loaded.vocab, loaded.context, loaded.device).tolist()
    run = RunStore(BUDGET_BYTES).create(loaded, ids, len(ids))
    for _ in decode(loaded, GenerationRequest(ids, max_new_tokens=0), watcher=run.watcher):
        pass
    return {block: run.block_sites(block).difference for block in range(len(loaded.structure.blocks))}


def difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())
