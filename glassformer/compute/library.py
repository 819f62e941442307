"""What the installed transformers calls a thing, where its versions differ: the next renaming is one line here."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from transformers import GenerationMixin, PreTrainedModel

# The argument that carries a forward's cache and the output that hands it back, in the order in which one is chosen:
# `cache` since 5.24, before it `cache_params` in state-space models and `past_key_values` in all others.
CACHE_NAMES = ("cache", "cache_params", "past_key_values")


def find_cache_name(model: PreTrainedModel) -> str:
    """What `generate()` calls the cache that it hands to a model and takes from its output."""
    kind: Any = type(model)
    return choose_cache_name(kind)


@cache
def choose_cache_name(kind: Any) -> str:
    """`find_cache_name` for a class of models, read from what its forward and transformers' own steps take."""
    steps = (kind.forward, GenerationMixin.prepare_inputs_for_generation)
    taken = {name for step in steps for name in inspect.signature(step).parameters}
    return next(name for name in CACHE_NAMES if name in taken)
