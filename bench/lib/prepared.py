"""A model in memory as a server has it before its first request: our attention, steps made quick."""

from __future__ import annotations

from typing import Any

from glassformer.anatomy.checkup import build_anatomy
from glassformer.compute.attention import install
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.registry.prepare import quicken_steps
from lib.shape import make_tokenizer

SPARE_BYTES = 2**31


def prepare(model: Any, model_id: str, *, is_checked: bool = False) -> LoadedModel:
    """A random model with the tokenizer of `lib/shape.py`; looked into only where `is_checked`."""
    source = ModelSource(model_id=model_id, kind="folder", folder=None)
    loaded = wrap_model(source, model, make_tokenizer())
    install(model)
    if is_checked:
        loaded.anatomy = build_anatomy(loaded)
    quicken_steps(loaded, spare_bytes=SPARE_BYTES, compiles_blocks=False)
    return loaded
