"""The registry that the settings describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from glassformer.files.catalog import open_catalog
from glassformer.registry.registry import Registry
from glassformer.settings import Settings

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel


def open_registry(
    settings: Settings,
    on_unload: Callable[[LoadedModel], None] | None = None,
    *,
    checks_later: bool = False,
) -> Registry:
    """A registry of the models that `settings` offer, loaded the way they say."""
    return Registry(
        open_catalog(settings),
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
        budget_bytes=settings.model_bytes,
        copies_weights=settings.copy_weights,
        compiles_blocks=settings.compile_blocks,
        checks_later=checks_later,
        load_secs=settings.load_timeout_secs,
        on_unload=on_unload,
    )
