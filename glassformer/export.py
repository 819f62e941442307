"""A recording as a folder that any static host can serve: the page, the stores, and what the page would ask a server.

```
index.html, assets/             the built page; a note inside index.html tells it that it has no server
data/recording.json             the recording's state, its steps, how they were drawn, the model's summary
data/anatomy.json               the model as data
data/rotary.json                the tables that turn queries and keys, for how a cell was computed
data/distributions/{pos}.json   what the model expected after each position
data/recording.zarr/            every site of the recording, level by level; opens with zarr-python and xarray
data/weights.zarr/              the weights: none, coarse pictures of them, or all
```

All addresses in it are relative, so it works from any folder of a host, and offline. Knows no HTTP. Costs what the
recording costs in memory; on disk each site takes five thirds of its cells in float32, attention patterns
heads x positions x positions of them: `check_size` says so before anything is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from torch import Tensor

from glassformer.engine.distribution import describe
from glassformer.errors import BadValue, ModelFailed
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import ModelSummary, Sampling, TraceRequest
from glassformer.protocol.parse import parse
from glassformer.registry.registry import open_registry
from glassformer.run.record import open_run
from glassformer.run.record import record as record_run
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state, describe_step
from glassformer.run.run_store import RunStore
from glassformer.run.weights import coarse_weight_store, weight_store
from glassformer.settings import Settings
from glassformer.tiles.store_folder import Place, write_store
from glassformer.tiles.zarr_store import ZarrStore

WeightDetail = Literal["auto", "none", "coarse", "full"]

# `auto` takes weights along whole up to this size: explanations need them, and a page can be sent so much.
WHOLE_WEIGHT_BYTES = 64 * 10**6

PAGE = Path(__file__).parent / "server" / "page"
# Where the page's build expects to be served; an exported page stands wherever its folder does.
BUILT_BASE = "/llm/"
# The page looks for a script of this id; its content is the version of the layout above.
NOTE = '<script type="application/json" id="glassformer-export">{"version": 1}</script>'
# As many as the page's chart and skyline show.
LISTED_CANDIDATES = 40
RECORDING = "data/recording.json"
# The recording of one export is all there is: its residuals are never given up.
BUDGET_BYTES = 2**40


def run_export(
    settings: Settings,
    model_id: str,
    prompt: str,
    *,
    out: Path,
    max_new_tokens: int,
    sampling: Mapping[str, float],
    weights: str,
    largest_bytes: int,
    overwrite: bool,
) -> int:
    """Load a model, record `prompt` and write the folder `out`; its size in bytes. Raises GlassformerError."""
    if weights not in get_args(WeightDetail):
        raise BadValue("weights is auto, none, coarse or full.", field="weights")
    drawn = parse(Sampling, sampling)
    place_export(out, overwrite=overwrite).check()
    registry = open_registry(settings)
    loaded = registry.load(model_id).result()
    made = record(loaded, registry.summary(model_id), prompt, max_new_tokens=max_new_tokens, sampling=drawn)
    detail = cast(WeightDetail, weights)
    return export(made, out, weights=detail, largest_bytes=largest_bytes, overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class Exportable:
    """A finished run, and the model as a server would list it."""

    run: Run
    model: ModelSummary


def record(
    loaded: LoadedModel, model: ModelSummary, prompt: str, *, max_new_tokens: int, sampling: Sampling
) -> Exportable:
    """Run `prompt` and keep everything the page shows of it. Raises BadValue, TooLong or ModelFailed."""
    if not prompt:
        raise BadValue("prompt must not be empty.", field="prompt")
    body = TraceRequest(
        model_id=loaded.model_id, prompt=prompt, max_new_tokens=max_new_tokens, sampling=sampling
    )
    return Exportable(record_run(open_run(RunStore(BUDGET_BYTES), loaded, body)), model)


def export(
    exportable: Exportable, out: Path, *, weights: WeightDetail, largest_bytes: int, overwrite: bool = False
) -> int:
    """Write the folder `out`, all of it or nothing; the answer is its size in bytes.

    `overwrite` replaces an earlier export and nothing else. Raises BadValue for a place that cannot be written and
    for more than `largest_bytes`, and ModelFailed where the page has not been built.
    """
    place = place_export(out, overwrite=overwrite)
    place.check()
    if not (PAGE / "index.html").is_file():
        raise ModelFailed("The page has not been built; `make page` builds it.", field=None)
    stores = {"recording.zarr": exportable.run.zarr_store().settle()}
    whole = weight_store(exportable.run.loaded)
    if weights == "auto":
        weights = "full" if whole.nbytes <= WHOLE_WEIGHT_BYTES else "coarse"
    if weights != "none":
        stores["weights.zarr"] = whole if weights == "full" else coarse_weight_store(exportable.run.loaded)
    check_size(stores, largest_bytes)
    with place.filling() as folder:
        write_page(folder)
        for name, store in stores.items():
            write_store(store, folder / "data" / name)
        write_answers(exportable, folder / "data", weights)
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def place_export(out: Path, *, overwrite: bool) -> Place:
    return Place(out, kind="an export", mark=RECORDING, overwrite=overwrite, field="out")


def check_size(stores: dict[str, ZarrStore], largest_bytes: int) -> None:
    """Raise BadValue where the stores hold more than `largest_bytes`."""
    size = sum(store.nbytes for store in stores.values())
    if size > largest_bytes:
        raise BadValue(
            f"The export would take {size / 1e6:,.0f} MB, more than the {largest_bytes / 1e6:,.0f} MB allowed; "
            "record fewer tokens, leave weights out, or allow more.",
            field="max_mb",
        )


def write_page(folder: Path) -> None:
    """The built page without the compressed copies, which static hosts do not look for."""
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("*.br", "*.gz", ".*"), dirs_exist_ok=True)
    index = folder / "index.html"
    page = index.read_text(encoding="utf-8").replace(f'"{BUILT_BASE}', '"./')
    index.write_text(page.replace("</head>", f"  {NOTE}\n  </head>", 1), encoding="utf-8")


def write_answers(exportable: Exportable, folder: Path, weights: WeightDetail) -> None:
    """What the page would ask a server, as files."""
    run = exportable.run
    anatomy = run.loaded.anatomy
    assert anatomy is not None
    document = {
        "model": exportable.model.model_dump(mode="json"),
        "prompt": run.prompt,
        "recording": describe_state(run, tokens=run.tell_tokens(len(run.token_ids))).model_dump(mode="json"),
        "steps": [describe_step(run.loaded, token).model_dump(mode="json") for token in run.steps],
        "weights": weights,
    }
    (folder / "anatomy.json").write_text(anatomy.model_dump_json(), encoding="utf-8")
    (folder / "recording.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "rotary.json").write_text(json.dumps(collect_rotary(run)), encoding="utf-8")
    distributions = folder / "distributions"
    distributions.mkdir()
    for pos in range(run.positions):
        (distributions / f"{pos}.json").write_text(describe_position(exportable, pos), encoding="utf-8")


def collect_rotary(run: Run) -> dict[str, Any]:
    """The tables by which each block turns queries and keys, [pos, width]."""
    assert run.loaded.anatomy is not None
    return describe_rotary([run.block_sites(block.index).rotary for block in run.loaded.anatomy.blocks])


def describe_rotary(rotary: Sequence[tuple[Tensor, Tensor] | None]) -> dict[str, Any]:
    """The cosine and sine tables of each block, [pos, width], where it has any; equal ones stand there once."""
    blocks: list[int | None] = []
    tables: list[dict[str, Any]] = []
    for each in rotary:
        if each is None:
            blocks.append(None)
            continue
        table = {"cos": each[0].tolist(), "sin": each[1].tolist()}
        if table not in tables:
            tables.append(table)
        blocks.append(tables.index(table))
    return {"blocks": blocks, "tables": tables}


def describe_position(exportable: Exportable, pos: int) -> str:
    """The distribution after one position as it was drawn from, in JSON."""
    run = exportable.run
    return describe(
        run.read_logits(pos),
        run.token_ids,
        run.sampling,
        loaded=run.loaded,
        pos=pos,
        prompt_count=run.prompt_count,
        limit=LISTED_CANDIDATES,
    ).model_dump_json()
