"""A recording as a folder that any static host can serve: the page, the stores, and what the page would ask a server.

```
index.html, assets/             the built page; a note inside index.html tells it that it has no server
data/recording.json             the recording's state, its steps, how they were drawn, the model's summary
data/anatomy.json               the model as data
data/rotary.json                the tables that turn queries and keys, for how a cell was computed
data/distributions/{pos}.json   what the model expected after each position
data/heads.json                 what every head reads over the text, as scores
data/readings/{pos}.json        what mattered for the word after each of the last positions, above the average word
data/effects/{pos}.json         what each word of the text and each part is worth to it, by test
data/recording.zarr/            every site of the recording, level by level, and its reading; for zarr-python and xarray
data/weights.zarr/              the weights: none, coarse pictures of them, or all
```

All addresses in it are relative, so it works from any folder of a host, and offline. Knows no HTTP. Costs what the
recording costs in memory; on disk each site takes five thirds of its cells in float32, attention patterns
heads x positions x positions of them: `check_size` says so before anything is written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from glassformer.errors import BadValue, ModelFailed
from glassformer.export.answers import RECORDING, WeightDetail, write_answers, write_recording
from glassformer.export.exportable import Exportable
from glassformer.reading.group import with_reading
from glassformer.run.weights import coarse_weight_store, weight_store
from glassformer.tiles.store_folder import Place, write_store
from glassformer.tiles.zarr_store import ZarrStore

# `auto` takes weights along whole up to this size: explanations need them, and a page can be sent so much.
WHOLE_WEIGHT_BYTES = 64 * 10**6

PAGE = Path(__file__).parent.parent / "server" / "page"
# Where the page's build expects to be served; an exported page stands wherever its folder does.
BUILT_BASE = "/llm/"
# The same page with its scripts and styles inside.
ONE_FILE = "one.html"
# The page looks for a script of this id; its content is the version of the layout above.
NOTE = '<script type="application/json" id="glassformer-export">{"version": 1}</script>'


def export_folder(
    exportable: Exportable, out: Path, *, weights: WeightDetail, largest_bytes: int, overwrite: bool = False
) -> int:
    """Write the folder `out`, all of it or nothing; the answer is its size in bytes.

    `overwrite` replaces an earlier export and nothing else. Raises BadValue for a place that cannot be written and
    for more than `largest_bytes`, and ModelFailed where the page has not been built.
    """
    place = place_export(out, overwrite=overwrite)
    place.check()
    page = find_page("index.html")
    stores = {"recording.zarr": with_reading(exportable.run, exportable.run.zarr_store().settle())}
    whole = weight_store(exportable.run.loaded)
    if weights == "auto":
        weights = "full" if whole.nbytes <= WHOLE_WEIGHT_BYTES else "coarse"
    if weights != "none":
        stores["weights.zarr"] = whole if weights == "full" else coarse_weight_store(exportable.run.loaded)
    check_size(stores, largest_bytes)
    with place.filling() as folder:
        write_page(page.parent, folder)
        for name, store in stores.items():
            write_store(store, folder / "data" / name)
        write_answers(exportable, folder / "data")
        write_recording(exportable, folder / "data", weights)
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def place_export(out: Path, *, overwrite: bool) -> Place:
    return Place(out, kind="an export", mark=f"data/{RECORDING}", overwrite=overwrite, field="out")


def check_size(stores: dict[str, ZarrStore], largest_bytes: int) -> None:
    """Raise BadValue where the stores hold more than `largest_bytes`."""
    size = sum(store.nbytes for store in stores.values())
    if size > largest_bytes:
        raise BadValue(
            f"The export would take {size / 1e6:,.0f} MB, more than the {largest_bytes / 1e6:,.0f} MB allowed; "
            "record fewer tokens, leave weights out, or allow more.",
            field="max_mb",
        )


def find_page(name: str) -> Path:
    """A page as it was built: `index.html` beside its files, or `one.html`. Raises ModelFailed where there is none."""
    page = PAGE / name
    if not page.is_file():
        raise ModelFailed("The page has not been built; `make page` builds it.", field=None)
    return page


def write_page(page: Path, folder: Path) -> None:
    """The built page without the compressed copies, which static hosts do not look for."""
    left_out = shutil.ignore_patterns("*.br", "*.gz", ".*", ONE_FILE)
    shutil.copytree(page, folder, ignore=left_out, dirs_exist_ok=True)
    index = folder / "index.html"
    text = index.read_text(encoding="utf-8").replace(f'"{BUILT_BASE}', '"./')
    index.write_text(text.replace("</head>", f"  {NOTE}\n  </head>", 1), encoding="utf-8")
