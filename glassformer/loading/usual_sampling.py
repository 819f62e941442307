"""How a model's makers have it sampled, as its generation_config.json says."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from glassformer.protocol.messages import Sampling

# What is read only where the makers sample at all: else it is left over from training, and transformers ignores it.
OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")


def read_usual_sampling(generation_config: Any) -> dict[str, float]:
    """The values that a `Sampling` can have, by its names; what makes no sense is left out."""
    samples = bool(getattr(generation_config, "do_sample", False))
    names = (*(OF_SAMPLING if samples else ()), "repetition_penalty")
    found = {}
    for name in names:
        value = getattr(generation_config, name, None)
        if value is not None and is_possible(name, value):
            found[name] = value
    return found


def is_possible(name: str, value: Any) -> bool:
    try:
        Sampling.model_validate({name: value})
    except ValidationError:
        return False
    return True
