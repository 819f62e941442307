"""A recording as one HTML file that opens from a disk: the page, and `data/` of an export as a ZIP archive inside it.

A mail takes so much and no more, so the file has a largest size. What mattered, the words and every decision are always
there; of the matrices those that are looked at most are there to the last cell as far as they fit, the others as
pictures (`fit`). The archive is in base64, four bytes for three. Costs the archive in memory.
"""

from __future__ import annotations

import base64
import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from glassformer.errors import BadValue
from glassformer.export.answers import WeightDetail, write_answers, write_recording
from glassformer.export.exportable import Exportable
from glassformer.export.folder import NOTE, ONE_FILE, find_page
from glassformer.reading.group import with_reading
from glassformer.run.weights import weight_store
from glassformer.tiles.level import SMALLEST_SIDE
from glassformer.tiles.store_folder import describe_fault
from glassformer.tiles.zarr_store import ZarrStore
from glassformer.writing import replacing_file

# Points whose cells are kept first: whom heads read, then the stream. The others follow as the anatomy lists them.
FIRST_POINTS = ("attn_probs", "embed", "resid_pre", "resid_mid", "resid_post")
# A picture of a matrix has at most so many cells a side.
PICTURE_SIDE = 2 * SMALLEST_SIDE
# What the page looks for; the archive of `data/` in base64.
ARCHIVE_ID = "glassformer-data"
ARCHIVE = f'<script type="application/zip;base64" id="{ARCHIVE_ID}">{{}}</script>'
# For what the archive says of each file.
HEADROOM_BYTES = 2**20


def export_file(
    exportable: Exportable, out: Path, *, points: Sequence[str], largest_bytes: int, overwrite: bool = False
) -> int:
    """Write the file `out`, all of it or nothing; the answer is its size in bytes.

    The cells of `points` (`attn_probs`, `q`) are there in any case. Raises BadValue for a place that cannot be written,
    a point that is not there, and where what must be in it takes more than `largest_bytes`.
    """
    target = out.expanduser().absolute()
    check_place(target, overwrite=overwrite)
    page = find_page(ONE_FILE).read_text(encoding="utf-8")
    run = exportable.run
    recording = with_reading(run, run.zarr_store().settle())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_answers(exportable, folder)
        write_recording(exportable, folder, "coarse")
        room = (largest_bytes - len(page.encode()) - HEADROOM_BYTES) // 4 * 3 - len(pack(read_folder(folder)))
        stores, weights = fit(recording, weight_store(run.loaded), points, room)
        write_recording(exportable, folder, weights)
        archive = pack(chain(read_folder(folder), read_stores(stores)))
    inside = ARCHIVE.format(base64.b64encode(archive).decode())
    text = page.replace("</head>", f"  {NOTE}\n  {inside}\n  </head>", 1)
    try:
        with replacing_file(target) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadValue(
            f"The file {target.name!r} cannot be written: {describe_fault(error)}.", field="out"
        ) from error
    return target.stat().st_size


def check_place(target: Path, *, overwrite: bool) -> None:
    """Raise BadValue for a place where no file can come, or where one is that is no export."""
    if target.is_dir():
        raise BadValue(f"{target.name!r} is a folder; name a file.", field="out")
    if not target.exists():
        return
    if f'id="{ARCHIVE_ID}"' not in target.read_text(encoding="utf-8", errors="replace"):
        raise BadValue(f"{target.name!r} exists and is not an export, so it is not replaced.", field="out")
    if not overwrite:
        raise BadValue(f"{target.name!r} exists already; say overwrite to replace it.", field="out")


def fit(
    recording: ZarrStore, weights: ZarrStore, points: Sequence[str], room: int
) -> tuple[dict[str, ZarrStore], WeightDetail]:
    """The stores in as much detail as `room` bytes take, with the cells of `points` in any case.

    The cells of a point are there of all blocks or of none. Raises BadValue for a point that is not there, and where
    what must be there does not fit.
    """
    grouped: dict[str, list[str]] = {}
    for name in recording.shapes:
        grouped.setdefault(name.partition(".")[0], []).append(name)
    for point in points:
        if point not in grouped:
            raise BadValue(
                f"There is no point {point!r} here; there are {', '.join(grouped)}.", field="point"
            )
    first_levels = list_first_levels(recording)
    pictures = recording.with_first_levels(first_levels)
    left = room - pictures.nbytes
    for point in dict.fromkeys([*points, *(point for point in FIRST_POINTS if point in grouped), *grouped]):
        cost = sum(recording.count_bytes(name) - pictures.count_bytes(name) for name in grouped[point])
        if cost <= left or point in points:
            left -= cost
            first_levels = {name: level for name, level in first_levels.items() if name not in grouped[point]}
    if left < 0:
        raise BadValue(
            f"The file would take {-left * 4 / 3e6:,.1f} MB more than is allowed; record fewer tokens, keep fewer "
            "points, or allow more.",
            field="max_mb",
        )
    stores = {"recording.zarr": recording.with_first_levels(first_levels)}
    coarse = weights.with_first_levels(list_first_levels(weights))
    if weights.nbytes <= left:
        return {**stores, "weights.zarr": weights}, "full"
    if coarse.nbytes <= left:
        return {**stores, "weights.zarr": coarse}, "coarse"
    return stores, "none"


def list_first_levels(store: ZarrStore) -> dict[str, int]:
    """The finest level of each array that is only a picture of it."""
    found = {}
    for name, shape in store.shapes.items():
        level = 0
        while max(shape[-2:], default=1) > PICTURE_SIDE * 2**level:
            level += 1
        found[name] = level
    return found


def read_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a folder, by their names in it."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def read_stores(stores: Mapping[str, ZarrStore]) -> Iterator[tuple[str, bytes]]:
    """The keys of stores, one after the other."""
    for name, store in stores.items():
        for key in store.list_keys():
            yield f"{name}/{key}", store.get(key).body


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A ZIP archive of files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files:
            # Of a fixed date, so that the same recording gives the same file.
            archive.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
