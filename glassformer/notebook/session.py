"""What all handles of one process share: models loaded once, one store of recordings under one budget, one page server.

Settings are those of the server, from the environment. Memory: a model lives as long as a handle of it, its recordings
or the page server; a recording's residuals may be given up for room and are then made again.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import weakref
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from glassformer.errors import BadValue, UnknownModel, UnknownTrace
from glassformer.settings import Settings

if TYPE_CHECKING:
    from glassformer.files.catalog import ModelSource
    from glassformer.loading.loaded import LoadedModel
    from glassformer.protocol.messages import ModelSummary
    from glassformer.run.run import Run
    from glassformer.run.run_store import RunStore

DTYPES = ("auto", "float32", "bfloat16", "float16")


class NotebookSession:
    """Models and recordings of this process. Any thread."""

    def __init__(self) -> None:
        self._models: weakref.WeakValueDictionary[tuple[str, ...], LoadedModel] = (
            weakref.WeakValueDictionary()
        )
        self._sources: weakref.WeakKeyDictionary[LoadedModel, ModelSource] = weakref.WeakKeyDictionary()
        self._shown: set[str] = set()
        self._lock = threading.RLock()

    @cached_property
    def settings(self) -> Settings:
        return Settings()

    @cached_property
    def store(self) -> RunStore:
        from glassformer.run.run_store import RunStore

        # As many as there are handles: each goes with its own.
        return RunStore(self.settings.trace_bytes, most_runs=sys.maxsize)

    def load(
        self,
        model: str | Path,
        *,
        device: str | None,
        dtype: str | None,
        adapter: str | Path | None = None,
    ) -> LoadedModel:
        """See `glassformer.load`."""
        from glassformer.files.catalog import open_catalog

        device, dtype = device or self.settings.device, dtype or self.settings.dtype
        if dtype not in DTYPES:
            raise BadValue(f"dtype is one of {', '.join(DTYPES)}.", field="dtype")
        settings, model_id = self._find_settings(model)
        if adapter is not None:
            settings, model_id = self._find_adapter(adapter, settings, model_id)
        settings = settings.model_copy(update={"device": device, "dtype": dtype})
        catalog = open_catalog(settings)
        return self._hold(settings, catalog.complete(catalog.find(model_id)))

    def _hold(self, settings: Settings, source: ModelSource) -> LoadedModel:
        """A model of this process, loaded if need be; an adapter's base is one as well."""
        from glassformer.registry.opening import open_registry

        key: tuple[str, ...] = (
            source.kind,
            str(source.folder or source.model_id),
            settings.device,
            settings.dtype,
        )
        with self._lock:
            base = None if source.base is None else self._hold(settings, source.base)
            if base is not None:
                key = (*key, base.model_id)
            held = self._models.get(key)
            if held is not None:
                return held
            # A registry of its own: two folders of one name, or one model in two formats, are two models here.
            loaded = (
                lay_over(source, base)
                if base is not None
                else open_registry(settings).load(source.model_id).result()
            )
            self._rename(loaded, source)
            self._models[key] = loaded
        return loaded

    def locate(self, model: str | Path) -> tuple[Settings, ModelSource]:
        """Where a model comes from, and the settings under which it is found there. Raises BadValue or UnknownModel."""
        from glassformer.files.catalog import open_catalog

        settings, model_id = self._find_settings(model)
        return settings, open_catalog(settings).find(model_id)

    def _find_adapter(self, adapter: str | Path, settings: Settings, model_id: str) -> tuple[Settings, str]:
        """Where to look for a model with an adapter, and for what; the adapter's folder is a root of its own."""
        from glassformer.files.adapter import is_adapter

        name, folder = os.fspath(adapter), Path(adapter).expanduser()
        if is_adapter(folder):
            settings = settings.model_copy(update={"model_dirs": [*settings.model_dirs, folder]})
            name = folder.resolve().name
        elif isinstance(adapter, Path) or name.startswith(("/", ".", "~")):
            raise UnknownModel(name, f"There is no adapter in the folder {folder.name!r}.")
        return settings, f"{model_id}+{name}"

    def _find_settings(self, model: str | Path) -> tuple[Settings, str]:
        """Where to look, and for what: a folder or file that is named outright is under a root of its own."""
        from glassformer.bundled import MODELS
        from glassformer.files.adapter import is_adapter
        from glassformer.files.catalog import any_files, describe_lack, find_model_folder
        from glassformer.files.gguf_place import find_only, is_gguf

        settings, name = self.settings, os.fspath(model)
        folder = find_model_folder(Path(name).expanduser())
        if is_gguf(folder):
            settings, name = settings.model_copy(update={"model_dirs": [folder.parent]}), folder.name
        elif name not in MODELS and is_adapter(folder):
            # Its base may lie beside it.
            place = folder.resolve()
            settings, name = settings.model_copy(update={"model_dirs": [place.parent]}), place.name
        elif name not in MODELS and (find_only(folder) or (folder / "config.json").is_file()):
            settings, name = settings.model_copy(update={"model_dirs": [folder]}), folder.resolve().name
        elif name and name not in MODELS and folder.is_dir() and any_files(folder):
            raise UnknownModel(name, describe_lack(folder))
        elif isinstance(model, Path) or name.startswith(("/", ".", "~")):
            raise UnknownModel(name, f"There is no model in the folder {folder.name!r}.")
        return settings, name

    def _rename(self, loaded: LoadedModel, source: ModelSource) -> None:
        """Give the second model of a name another one: the page tells models apart by it."""
        taken = {other.model_id for other in self._sources}
        name = next(
            name
            for name in (source.model_id, *(f"{source.model_id}-{n}" for n in range(2, 10**6)))
            if name not in taken
        )
        loaded.model_id = name
        if loaded.anatomy is not None:
            loaded.anatomy = loaded.anatomy.model_copy(update={"model_id": name})
        self._sources[loaded] = dataclasses.replace(source, model_id=name, title=name)

    def source_of(self, loaded: LoadedModel) -> ModelSource:
        """Where a model of this session came from."""
        return self._sources[loaded]

    def summarise(self, loaded: LoadedModel) -> ModelSummary:
        """What a server would list of a model of this session."""
        from glassformer.registry.opening import open_registry

        registry = open_registry(self.settings)
        registry.adopt(self.source_of(loaded), loaded)
        return registry.summary(loaded.model_id)

    def forget_with(self, handle: object, live: Run) -> None:
        """Forget a recording once nobody holds its handle any more, unless the page shows it."""
        weakref.finalize(handle, self._drop, live.id)

    def keep_shown(self, live: Run) -> None:
        """Keep a recording beyond its handle."""
        self._shown.add(live.id)

    def _drop(self, trace_id: str) -> None:
        if trace_id not in self._shown:
            with suppress(UnknownTrace):
                self.store.delete(trace_id)


def lay_over(source: ModelSource, base: LoadedModel) -> LoadedModel:
    """An adapter over a model of this process, looked into."""
    from glassformer.loading.adapter import load_adapter
    from glassformer.registry.prepare import look_into

    assert source.folder is not None
    loaded = load_adapter(source, source.folder, base)
    look_into(loaded)
    return loaded


SESSION = NotebookSession()
