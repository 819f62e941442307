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

    def load(self, model: str | Path, *, device: str | None, dtype: str | None) -> LoadedModel:
        """See `glassformer.load`."""
        from glassformer.files.catalog import open_catalog
        from glassformer.registry.registry import open_registry

        device, dtype = device or self.settings.device, dtype or self.settings.dtype
        if dtype not in DTYPES:
            raise BadValue(f"dtype is one of {', '.join(DTYPES)}.", field="dtype")
        settings, model_id = self._find_settings(model)
        settings = settings.model_copy(update={"device": device, "dtype": dtype})
        source = open_catalog(settings).find(model_id)
        key = (source.kind, str(source.folder or source.model_id), device, dtype)
        with self._lock:
            held = self._models.get(key)
            if held is not None:
                return held
            # A registry of its own: two folders of one name, or one model in two formats, are two models here.
            loaded = open_registry(settings).load(model_id).result()
            self._rename(loaded, source)
            self._models[key] = loaded
        return loaded

    def _find_settings(self, model: str | Path) -> tuple[Settings, str]:
        """Where to look, and for what: a folder that is named outright is a root of its own."""
        from glassformer.bundled import MODELS
        from glassformer.files.catalog import any_files, describe_lack

        settings, name = self.settings, os.fspath(model)
        folder = Path(name).expanduser()
        if name not in MODELS and (folder / "config.json").is_file():
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


SESSION = NotebookSession()
