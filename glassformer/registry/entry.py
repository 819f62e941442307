"""One model of a registry and how far it is, and what clients are told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.options import LoadOptions
from glassformer.protocol.messages import LoadProgress

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel
    from glassformer.registry.prepare import Aftercare

Stage = Literal["queued", "downloading", "reading", "checking", "ready", "failed"]
User = Literal["leases", "lookers"]
Listener = Callable[[LoadProgress], None]


@dataclass(eq=False)
class Entry:
    """One model and how far it is. Fields change only under the registry's lock."""

    source: ModelSource
    options: LoadOptions
    future: Future[LoadedModel]
    progress: LoadProgress
    listeners: list[Listener] = field(default_factory=list)
    leases: int = 0
    # Those who look at what it has computed, and would have to wait for it if it went.
    lookers: int = 0
    used_at_secs: float = 0.0
    # Where its weights lie or will, and how many bytes are set aside for them; 0 until that is known.
    kind: str = ""
    bytes: int = 0
    folder: Path | None = None
    # The model that it is to take the place of, which serves until it has been seen to write.
    replaces: Entry | None = None
    # Why it could not be replaced by itself loaded in another way, the last time that was tried.
    refusal: str | None = None
    aftercare: Aftercare | None = None
    # Until when it may be under way.
    ends_at_secs: float = math.inf

    def count(self, who: User, change: int) -> None:
        """One more or less of those who need it, now."""
        setattr(self, who, getattr(self, who) + change)
        self.used_at_secs = time.monotonic()

    @classmethod
    def queued(cls, source: ModelSource, options: LoadOptions, replaces: Entry | None) -> Entry:
        """A model that waits to be loaded."""
        progress = LoadProgress(model_id=source.model_id, stage="queued")
        entry = cls(source, options, Future(), progress, replaces=replaces)
        # One that stops waiting must not cancel it for the others.
        entry.future.set_running_or_notify_cancel()
        return entry

    @classmethod
    def adopted(cls, source: ModelSource, options: LoadOptions, loaded: LoadedModel) -> Entry:
        """A model that was loaded elsewhere, in use for good."""
        progress = LoadProgress(model_id=source.model_id, stage="ready", fraction=1.0)
        entry = cls(source, options, Future(), progress, leases=1, kind=loaded.device.type)
        entry.future.set_result(loaded)
        return entry

    def go_on(self) -> None:
        """Raises what a load has been ended with meanwhile, and ModelFailed where it takes too long."""
        if (error := self.error) is not None:
            raise error
        if time.monotonic() > self.ends_at_secs:
            raise ModelFailed("Loading the model took longer than the server allows (load_timeout_secs).")

    def settle(self, loaded: LoadedModel) -> None:
        """It is there. Raises what it has been ended with meanwhile."""
        self.go_on()
        self.used_at_secs = time.monotonic()
        self.bytes = loaded.bytes
        self.replaces = None
        self.future.set_result(loaded)

    def end(self, error: GlassformerError) -> bool:
        """It will not be there; false where that is known already."""
        self.bytes = 0
        if self.future.done():
            return False
        # Whoever waits for it must not be told earlier than whoever asks how far it is.
        self.move_to("failed", detail=error.message)
        self.future.set_exception(error)
        return True

    def move_to(self, stage: Stage, **more: Any) -> tuple[LoadProgress, list[Listener]]:
        """How far it is, and who wants to hear that."""
        self.progress = LoadProgress(model_id=self.source.model_id, stage=stage, **more)
        return self.progress, list(self.listeners)

    def as_failed(self, error: GlassformerError) -> Entry:
        """What stands in the place of a model that was ready and is not any more."""
        progress = LoadProgress(model_id=self.source.model_id, stage="failed", detail=error.message)
        failed = Entry(self.source, self.options, Future(), progress, listeners=self.listeners)
        failed.future.set_exception(error)
        return failed

    @property
    def loaded(self) -> LoadedModel | None:
        if self.future.done() and self.future.exception() is None:
            return self.future.result()
        return None

    @property
    def error(self) -> GlassformerError | None:
        exc = self.future.exception() if self.future.done() else None
        return exc if isinstance(exc, GlassformerError) else None


def forget(entries: dict[str, Entry], most: int) -> None:
    """Keep no more than the latest `most` of those that failed."""
    failed = [model_id for model_id, entry in entries.items() if entry.error is not None]
    for model_id in failed[: max(0, len(failed) - most)]:
        del entries[model_id]


def blame_options(options: LoadOptions, error: ModelFailed) -> GlassformerError:
    """What to say where a model does not write that was loaded in such a way; names what was asked for, if anything."""
    plain = {"quantize": {"none"}, "dtype": {"auto", "float32"}, "device": {"auto", "cpu"}}
    for name, usual in plain.items():
        value = getattr(options, name)
        if value not in usual:
            reason = error.message[:1].lower() + error.message[1:]
            return ModelRefused(f"{name}={value} does not work for this model here: {reason}", field=name)
    return error
