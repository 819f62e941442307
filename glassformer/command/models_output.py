"""What `glassformer models` prints: every model on this machine, how large it is, and whether it opens and fits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassformer.files.catalog import Catalog, ModelSource
from glassformer.files.size import format_bytes
from glassformer.files.stock import take_stock_of
from glassformer.importing import import_torch
from glassformer.loading.options import LoadOptions
from glassformer.settings import Settings


def list_here(catalog: Catalog, settings: Settings) -> list[dict[str, Any]]:
    """A row for each model: its id, where it lies, its form and sizes, whether it opens and fits, else why not."""
    import_torch()
    from glassformer.loading.survey import survey_source

    options = LoadOptions(device=settings.device, dtype=settings.dtype, quantize=settings.quantize)
    rows = []
    for source in catalog.list():
        place = catalog.find_here(source)
        if place is None and source.base is None:
            continue
        stock = take_stock_of(source, place)
        survey = survey_source(source, place, options, settings.model_bytes)
        rows.append(
            {
                "model_id": source.model_id,
                "where": name_place(source),
                "form": stock.form,
                "family": stock.family,
                "stored_bytes": stock.stored_bytes,
                "needed_bytes": survey.needed_bytes,
                "opens": survey.opens,
                "fits": survey.fits,
                "reason": survey.reason,
            }
        )
    return rows


def name_place(source: ModelSource) -> str:
    return source.store or source.kind


def print_models(rows: Iterable[dict[str, Any]], console: Console, *, as_json: bool) -> None:
    """The rows as a table, or as JSON for programs."""
    if as_json:
        console.out(json.dumps(list(rows), indent=1), highlight=False)
        return
    table = Table("model_id", "where", "form", "family", box=None, pad_edge=False)
    for title in ("on disk", "in memory"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("opens")
    for row in rows:
        is_fine = row["opens"] and row["fits"]
        table.add_row(
            Text(row["model_id"]),
            row["where"],
            row["form"] or "?",
            row["family"] or "?",
            format_bytes(row["stored_bytes"]) if row["stored_bytes"] else "?",
            format_bytes(row["needed_bytes"]) if row["needed_bytes"] else "?",
            Text("yes", style="green") if is_fine else Text(row["reason"], style="yellow"),
        )
    console.print(table)
