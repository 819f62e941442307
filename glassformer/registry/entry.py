"""One model of a registry and how far it is, and what clients are told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.files.stock import Stock
from glassformer.loading.options import LoadOptions
from glassformer.protocol.messages import LoadProgress, ModelSummary
from glassformer.registry import sample

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel
    from glassformer.loading.survey import Survey
    from glassformer.registry.prepare import Aftercare

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

    def count(self, who: Literal["leases", "lookers"], change: int) -> None:
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


def list_offered(sources: list[ModelSource], entries: dict[str, Entry]) -> list[ModelSource]:
    """What there is, and whatever else was asked for and is there; a mistyped name that failed is nobody's offer."""
    offered = {source.model_id: source for source in sources}
    for model_id, entry in entries.items():
        if entry.error is None:
            offered.setdefault(model_id, entry.source)
    return [*offered.values()]


def summarise(
    source: ModelSource,
    entry: Entry | None,
    *,
    stock: Stock,
    survey: Survey | None,
    is_tried: bool,
    is_pinned: bool,
) -> ModelSummary:
    """What a client is told of a model; `is_tried` says that another way of loading it is being tried."""
    loaded = entry.loaded if entry else None
    error = entry.error if entry else None
    status: Literal["available", "loading", "ready", "failed"] = "available"
    if entry is not None:
        status = "ready" if loaded else "failed" if error else "loading"
        # Another way of loading it is being tried: what is there goes on serving.
        status = "loading" if is_tried else status
    return ModelSummary(
        model_id=source.model_id,
        title=source.title or source.model_id,
        description=source.description,
        source=source.kind,
        base=source.base.model_id if source.base else None,
        status=status,
        family=loaded.config.model_type if loaded else stock.family,
        store=source.store,
        form=stock.form,
        stored_bytes=stock.stored_bytes,
        needed_bytes=survey.needed_bytes if survey else None,
        opens=survey.opens if survey else None,
        fits=survey.fits if survey else None,
        reason=survey.reason if survey else "",
        parameters=loaded.parameters if loaded else None,
        bytes=loaded.bytes if loaded else None,
        device=str(loaded.device) if loaded else None,
        dtype=str(loaded.dtype).removeprefix("torch.") if loaded else None,
        quantize=loaded.quantize if loaded else None,
        pinned=is_pinned,
        note=loaded.note if loaded else "",
        prompts=list(source.prompts or sample.PROMPTS),
        chat=loaded.chats if loaded else None,
        conversation=list(sample.CONVERSATION) if loaded and loaded.chats and not source.prompts else [],
        error=error.message if error else entry.refusal if entry else None,
    )


def blame_options(options: LoadOptions, error: ModelFailed) -> GlassformerError:
    """What to say where a model does not write that was loaded in such a way; names what was asked for, if anything."""
    plain = {"quantize": {"none"}, "dtype": {"auto", "float32"}, "device": {"auto", "cpu"}}
    for name, usual in plain.items():
        value = getattr(options, name)
        if value not in usual:
            reason = error.message[:1].lower() + error.message[1:]
            return ModelRefused(f"{name}={value} does not work for this model here: {reason}", field=name)
    return error
