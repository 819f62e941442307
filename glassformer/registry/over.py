"""Adapters in a registry: each is a model of its own that holds its base, and takes little memory beside that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from glassformer.errors import ModelFailed, ModelRefused, UnknownModel
from glassformer.importing import import_torch
from glassformer.protocol.messages import LoadProgress
from glassformer.registry.entry import Entry, Listener
from glassformer.vetting.vet import vet_adapter

if TYPE_CHECKING:
    from glassformer.files.catalog import Catalog, ModelSource
    from glassformer.loading.loaded import LoadedModel
    from glassformer.loading.options import LoadOptions


class Loader(Protocol):
    """What an adapter needs of the registry that it is in."""

    catalog: Catalog
    options: LoadOptions

    def listen(
        self, model_id: str, listener: Listener, options: LoadOptions | None = None
    ) -> tuple[Future[LoadedModel], Callable[[], None]]:
        """A model, being loaded if need be, and how far it is; gives a function that ends the telling."""

    def report(self, entry: Entry, stage: Any, **more: Any) -> None:
        """Tell how far one is."""


def choose_options(entries: dict[str, Entry], source: ModelSource, usual: LoadOptions) -> LoadOptions:
    """How a model is loaded where nothing else is asked for; an adapter as its base is there."""
    base = None if source.base is None else entries.get(source.base.model_id)
    return usual if base is None or base.error is not None else base.options


def hold_base(registry: Loader, entry: Entry) -> LoadedModel | None:
    """The base of an adapter, loaded if need be; None for a whole model. It stays as long as the adapter is listed.

    What the hub has is known from here on to be an adapter or none. A base that is there is taken as it is, unless the
    adapter was asked for in another way than usual.

    Waits for it, so it is called by who keeps nobody else from loading. Raises what its loading raises.
    """
    entry.source = registry.catalog.complete(entry.source)
    source = entry.source.base
    if source is None:
        return None

    def pass_on(progress: LoadProgress) -> None:
        if progress.stage not in ("queued", "ready", "failed"):
            registry.report(entry, progress.stage, **progress.model_dump(exclude={"model_id", "stage"}))

    try:
        asked = None if entry.options == registry.options else entry.options
        future, stop = registry.listen(source.model_id, pass_on, asked)
        try:
            base = future.result()
        finally:
            stop()
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
    vet_adapter(entry.source.folder)
    loaded = load_adapter(entry.source, entry.source.folder, base)
    entry.kind, entry.bytes = loaded.device.type, loaded.bytes
    return loaded
