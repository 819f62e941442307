"""What clients are told of the models of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from glassformer.files.catalog import ModelSource
from glassformer.files.stock import Stock
from glassformer.protocol.messages import ModelSummary
from glassformer.registry import sample
from glassformer.registry.entry import Entry

if TYPE_CHECKING:
    from glassformer.loading.survey import Survey


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
