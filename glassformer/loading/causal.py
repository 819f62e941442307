"""Whether a model predicts what comes next, or knows it already: tried, for no config says so reliably."""

from __future__ import annotations

import logging
from typing import Any

import torch

from glassformer.compute.computing import computing

log = logging.getLogger(__name__)

# The texts' length, and how many of their last tokens differ.
POSITIONS = 8
CHANGED = 3
# What later tokens may change before them, as a share of what they change in their own place. Rounding alone moves
# equal rows of one forward by less (not at all, but for experts that are computed in other company).
TOLERANCE = {torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 3e-2}


@torch.inference_mode()
def sees_later_tokens(model: Any, *, vocab: int) -> bool:
    """Whether a text's last tokens change the logits before them; False where that cannot be tried.

    One forward of two short texts, prepared as for writing, so that masks are those that texts are written with.
    """
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(vocab, (POSITIONS,), generator=generator)
    ids = torch.stack([text, text]).to(model.device)
    ids[1, -CHANGED:] = (ids[1, -CHANGED:] + 1) % vocab
    try:
        inputs = model.prepare_inputs_for_generation(
            ids, attention_mask=torch.ones_like(ids), use_cache=False, is_first_iteration=True
        )
        with computing(ids.numel(), "probes"):
            logits = model(**inputs, return_dict=True).logits.float()
    except Exception as exc:  # whatever a family's own code raises
        log.debug("whether the model sees later tokens could not be tried (%s)", type(exc).__name__)
        return False
    if logits.shape[:2] != ids.shape:
        return False
    changed = (logits[0] - logits[1]).abs().amax(-1)
    return bool(changed[:-CHANGED].max() > TOLERANCE.get(model.dtype, 3e-2) * changed[-1])
