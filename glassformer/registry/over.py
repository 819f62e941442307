"""Adapters in a registry: each is a model of its own that holds its base, and takes little memory beside that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from glassformer.errors import ModelFailed, ModelRefused, UnknownModel
from glassformer.importing import import_torch
from glassformer.protocol.messages import LoadProgress
from glassformer.registry.entry import Entry, Listener

if TYPE_CHECKING:
    from glassformer.files.catalog import ModelSource
    from glassformer.loading.loaded import LoadedModel
    from glassformer.loading.options import LoadOptions


class Loader(Protocol):
    """What an adapter needs of the registry that it is in."""

    def load(self, model_id: str, options: LoadOptions | None = None) -> Future[LoadedModel]:
        """A model, being loaded if need be."""

    def listen(self, model_id: str, listener: Listener) -> Callable[[], None]:
        """Hear how far a model is; gives a function that ends that."""

    def use(self, loaded: LoadedModel) -> AbstractContextManager[None]:
        """Keep a model in memory meanwhile."""

    def report(self, entry: Entry, stage: Any, **more: Any) -> None:
        """Tell how far one is."""


def list_over(entries: dict[str, Entry], base_id: str) -> list[Entry]:
    """The adapters that are over a model, in memory or on their way there."""
    return [
        entry
        for entry in entries.values()
        if entry.source.base is not None and entry.source.base.model_id == base_id and entry.error is None
    ]


def choose_options(entries: dict[str, Entry], source: ModelSource, usual: LoadOptions) -> LoadOptions:
    """How a model is loaded where nothing else is asked for; an adapter as its base is there."""
    base = None if source.base is None else entries.get(source.base.model_id)
    return usual if base is None or base.error is not None else base.options


def hold_base(registry: Loader, entry: Entry) -> LoadedModel | None:
    """The base of an adapter, loaded if need be and kept until the adapter goes; None for a whole model.

    Waits for it, so it is called by who keeps nobody else from loading. Raises what its loading raises.
    """
    source = entry.source.base
    if source is None:
        return None

    def pass_on(progress: LoadProgress) -> None:
        if progress.stage not in ("queued", "ready", "failed"):
            registry.report(entry, progress.stage, **progress.model_dump(exclude={"model_id", "stage"}))

    try:
        future = registry.load(source.model_id, entry.options)
        stop = registry.listen(source.model_id, pass_on)
        try:
            base = future.result()
        finally:
            stop()
        entry.lease.enter_context(registry.use(base))
    except UnknownModel as exc:
        name = entry.source.model_id
        raise UnknownModel(
            name, f"{name!r} is an adapter over a model that is not here. {exc.message}"
        ) from exc
    except (ModelRefused, ModelFailed) as exc:
        raise type(exc)(f"The adapter's base {source.model_id!r} cannot be loaded: {exc.message}") from exc
    return base


def load_over(registry: Loader, entry: Entry, base: LoadedModel) -> LoadedModel:
    """The adapter of an entry over its base. Raises as `load_adapter`, and NoRoom."""
    import_torch()
    from glassformer.loading.adapter import load_adapter

    assert entry.source.folder is not None
    entry.folder = entry.source.folder
    registry.report(entry, "reading")
    loaded = load_adapter(entry.source, entry.source.folder, base)
    entry.kind, entry.bytes = loaded.device.type, loaded.bytes
    return loaded
