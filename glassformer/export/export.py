"""From a prompt to an export: a model is loaded, run and recorded, and everything the page shows of it written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from glassformer.errors import BadValue
from glassformer.export.answers import WeightDetail
from glassformer.export.exportable import Exportable, record
from glassformer.export.folder import export_folder, place_export
from glassformer.export.one_file import check_place, export_file
from glassformer.protocol.messages import Sampling
from glassformer.protocol.parse import parse
from glassformer.registry.opening import open_registry
from glassformer.settings import Settings

# A folder for a host, and a file that most mail takes.
MOST_FOLDER_BYTES, MOST_FILE_BYTES = 2000 * 10**6, 25 * 10**6


def run_export(
    settings: Settings,
    model_id: str,
    prompt: str,
    *,
    out: Path,
    max_new_tokens: int,
    sampling: Mapping[str, float],
    weights: str,
    points: Sequence[str],
    largest_bytes: int | None,
    overwrite: bool,
) -> int:
    """Load a model, record `prompt` and write `out`, a file where it ends in `.html`, else a folder; its size in bytes.

    Raises GlassformerError.
    """
    if weights not in get_args(WeightDetail):
        raise BadValue("weights is auto, none, coarse or full.", field="weights")
    is_file = out.suffix.lower() == ".html"
    if is_file and weights != "auto":
        raise BadValue("A file takes weights along as they fit in; weights is for folders.", field="weights")
    if points and not is_file:
        raise BadValue("A folder holds all points; point is for a file that ends in .html.", field="point")
    drawn = parse(Sampling, sampling)
    if is_file:
        check_place(out.expanduser().absolute(), overwrite=overwrite)
    else:
        place_export(out, overwrite=overwrite).check()
    registry = open_registry(settings)
    loaded = registry.load(model_id).result()
    made = record(loaded, registry.summary(model_id), prompt, max_new_tokens=max_new_tokens, sampling=drawn)
    return write_export(
        made,
        out,
        weights=cast(WeightDetail, weights),
        points=points,
        largest_bytes=largest_bytes,
        overwrite=overwrite,
    )


def write_export(
    exportable: Exportable,
    out: Path,
    *,
    weights: WeightDetail = "auto",
    points: Sequence[str] = (),
    largest_bytes: int | None = None,
    overwrite: bool = False,
) -> int:
    """Write a recording as a file where `out` ends in `.html`, else as a folder; its size in bytes.

    Raises as `export_folder` and `export_file`.
    """
    if out.suffix.lower() == ".html":
        return export_file(
            exportable,
            out,
            points=points,
            largest_bytes=largest_bytes or MOST_FILE_BYTES,
            overwrite=overwrite,
        )
    return export_folder(
        exportable,
        out,
        weights=weights,
        largest_bytes=largest_bytes or MOST_FOLDER_BYTES,
        overwrite=overwrite,
    )
