"""What of a model will work here and what will not, told within seconds and before any of its weights are read."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rich.console import Console

from glassformer.errors import GlassformerError, ModelRefused
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.files.size import format_bytes
from glassformer.files.stock import take_stock_of
from glassformer.importing import import_torch
from glassformer.loading.options import LoadOptions
from glassformer.protocol.anatomy import list_sites
from glassformer.settings import Settings


def print_outlook(catalog: Catalog, source: ModelSource, settings: Settings, console: Console) -> None:
    """Form, size, room, tokenizer and picture, a line each. Raises GlassformerError for a model that does not open."""
    import_torch()
    place = catalog.find_here(source)
    if place is None and source.base is None:
        console.print("Its weights are not on this machine; they would be downloaded.", highlight=False)
    else:
        print_files(place, source, settings, console)
    # What is here is not asked of the hub.
    here = None if place is None else place if place.is_file() else place / "config.json"
    print_picture(here or catalog.fetch_config(source), console)


def print_files(place: Path | None, source: ModelSource, settings: Settings, console: Console) -> None:
    """What its files say: how it lies there, whether it opens and fits, and its tokenizer."""
    from glassformer.loading.form.recognise import open_form
    from glassformer.loading.survey import survey_source

    stock = take_stock_of(source, place)
    options = LoadOptions(device=settings.device, dtype=settings.dtype, quantize=settings.quantize)
    survey = survey_source(source, place, options, settings.model_bytes)
    size = f" of {format_bytes(stock.stored_bytes)}" if stock.stored_bytes else ""
    over = f" over {source.base.model_id!r}" if source.base is not None else ""
    console.print(f"Files: {stock.form or 'no weights'}{size}{over}.", highlight=False)
    if survey.opens is False:
        raise ModelRefused(survey.reason)
    if place is None:
        console.print(f"{survey.reason} It would be downloaded.", highlight=False)
        return
    assert survey.needed_bytes is not None
    console.print(
        f"Memory: {format_bytes(survey.needed_bytes)} for its weights. {survey.reason or 'It fits.'}",
        highlight=False,
    )
    tokenizer = open_form(place, (source.base or source).root).read_tokenizer()
    chats = "with a chat template" if tokenizer.chat_template else "without a chat template: send a prompt"
    console.print(f"Tokenizer: {len(tokenizer):,} tokens, {chats}.", highlight=False)


def print_picture(config: Path, console: Console) -> None:
    """What will be drawn of it, by its config alone."""
    from glassformer.shape.shape import describe_shape

    try:
        shape = describe_shape(config, "model")
    except GlassformerError as error:
        console.print(f"Picture: none can be told from its config. {error.message}", highlight=False)
        return
    anatomy = shape.anatomy
    if anatomy.refused:
        console.print(f"Picture: none. {anatomy.refused}.", highlight=False)
        return
    sizes = anatomy.dimensions
    console.print(
        f"Picture: {sizes.blocks} blocks of width {sizes.d_model:,}, {sizes.heads} heads.", highlight=False
    )
    refused: defaultdict[str, set[str]] = defaultdict(set)
    for site in list_sites(anatomy).values():
        if site.check.status == "refused":
            refused[site.check.reason or "no reason is known"].add(site.point)
    for reason, points in refused.items():
        console.print(f"Opaque: {', '.join(sorted(points))} ({reason}).", style="yellow", highlight=False)
