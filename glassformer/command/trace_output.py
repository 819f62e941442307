"""`glassformer trace`: run a prompt and print what some sites say, or write their cells to a file."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassformer.errors import BadValue
from glassformer.notebook.cell_source import NoSite
from glassformer.protocol.anatomy import Site, list_sites
from glassformer.writing import replacing_file

if TYPE_CHECKING:
    from glassformer.notebook import Model, Trace
    from glassformer.tiles.level import Array

# Rows of a printed table; the rest is told in one line.
SHOWN_ROWS = 24
SHOWN_CELLS = 3
# Rows of a csv file with its header; a spreadsheet holds no more, and the other formats hold everything.
MOST_CSV_ROWS = 2**20


# --- printing ----------------------------------------------------------------------------------------


def print_trace(trace: Trace, addresses: Sequence[str], console: Console) -> None:
    """The text, and for each address its statistics and its largest cells; without any, what can be asked for."""
    console.print(Text(trace.text))
    console.print(
        f"{trace.prompt_count} tokens read, {len(trace.token_ids) - trace.prompt_count} written.", style="dim"
    )
    for address in addresses:
        console.print()
        print_site(trace, address, console)
    if not addresses:
        blocks = len(trace.anatomy.blocks) - 1
        found = dict.fromkeys(address.partition(".")[0] for address in trace)
        inside = [point for point in found if f"{point}.0" in trace or f"{point}.{blocks}" in trace]
        outside = [point for point in found if point not in inside]
        console.print(
            f"\nChoose with --site: {', '.join(outside)}; and for the blocks B = 0 to {blocks}: "
            f"{', '.join(f'{point}.B' for point in inside)}."
        )


def print_site(trace: Trace, address: str, console: Console) -> None:
    """One site: what it is, how its cells are spread, and the largest of them where they stand."""
    cells = trace.numpy(address)
    site = list_sites(trace.anatomy)[address]
    shape = " x ".join(f"{axis} {size}" for axis, size in zip(site.axes, cells.shape, strict=True))
    console.print(Text.assemble((address, "bold"), f"  {shape}"))
    console.print(f"{site.provenance}, check {describe_check(site)}", style="dim")
    console.print(describe_spread(cells))
    console.print(describe_rows(trace, site, cells))


def describe_check(site: Site) -> str:
    check = site.check
    if check.status == "close" and check.worst is not None:
        return f"close (within {check.worst.difference:.2g}, {2 * check.worst.bound:.2g} allowed)"
    return check.status if check.reason is None else f"{check.status} ({check.reason})"


def describe_spread(cells: Array) -> str:
    finite = cells[np.isfinite(cells)].astype(np.float64)
    masked = cells.size - finite.size
    found = (
        f"min {finite.min():.5g}, max {finite.max():.5g}, mean {finite.mean():.5g}, " if finite.size else ""
    )
    size = f"rms {np.sqrt(np.square(finite).mean()):.5g}" if finite.size else "no finite cell"
    return f"{found}{size}" + (f", {masked} masked" if masked else "")


def describe_rows(trace: Trace, site: Site, cells: Array) -> Table:
    """Heads, or positions: one row for each, with its largest cells."""
    label = describe_place(trace, site)
    if site.axes[-1] == "key":
        table = Table(
            "head", f"most attended by the last position, {quote(trace, cells.shape[1] - 1)}", box=None
        )
        for head, row in enumerate(cells[:, -1]):
            table.add_row(str(head), Text(largest(row, lambda index: label(index[-1]))))
        return table
    if cells.ndim == 3:
        table = Table(site.axes[0], "rms", "largest", box=None)
        for head, part in enumerate(cells):
            place = largest(part, lambda index: f"{quote(trace, index[0])} {label(index[1])}")
            table.add_row(str(head), measure_size(part), Text(place))
        return table
    table = Table("pos", "token", "rms", "largest", box=None)
    first = max(0, len(cells) - SHOWN_ROWS)
    for pos in range(first, len(cells)):
        row = cells[pos]
        place = largest(row, lambda index: label(index[0]))
        table.add_row(str(pos), Text(quote(trace, pos)), measure_size(row), Text(place))
    if first:
        table.caption = f"and {first} positions before"
    return table


def measure_size(cells: Array) -> str:
    """The root mean square of the finite ones."""
    return f"{np.sqrt(np.square(cells[np.isfinite(cells)]).mean()):.5g}"


def describe_place(trace: Trace, site: Site) -> Callable[[int], str]:
    """How one place of the last axis is called: the token it stands for, where it does."""
    if site.axes[-1] == "key":
        return lambda place: quote(trace, place)
    if site.axes[-1] == "vocab":
        return lambda place: describe_token(trace, place)
    return lambda place: f"{site.axes[-1]} {place}"


def quote(trace: Trace, pos: int) -> str:
    return repr(trace.tokens[pos])


def describe_token(trace: Trace, token_id: int) -> str:
    return f"token {token_id}" if trace.live is None else repr(trace.live.loaded.token(token_id).text)


def largest(cells: Array, label: Callable[[tuple[int, ...]], str], rank: Array | None = None) -> str:
    """The first cells by `rank`, by default their magnitude, with where they stand."""
    ranked = np.abs(cells) if rank is None else rank
    order = np.where(np.isfinite(cells), ranked, -np.inf).reshape(-1)
    places = np.argsort(-order, kind="stable")[:SHOWN_CELLS]
    found = [
        tuple(map(int, np.unravel_index(place, cells.shape))) for place in places if order[place] > -np.inf
    ]
    return "   ".join(f"{label(index)} {cells[index]:.4g}" for index in found)


# --- writing -----------------------------------------------------------------------------------------


def check_sites(model: Model, addresses: Sequence[str]) -> None:
    """Raise KeyError for an address that the model does not have or refuses, before anything is run for it."""
    for address in addresses:
        check = model.site(address).check
        if check.status == "refused":
            raise NoSite(address, f"{address} is refused: {check.reason}.")


def check_file(addresses: Sequence[str], path: Path) -> None:
    """Raise BadValue where no file of that name can hold these sites."""
    endings = [*WRITERS, ".zarr"]
    if path.suffix.lower() not in endings:
        raise BadValue(
            f"--out ends with {', '.join(endings)}, and not {path.suffix or 'nothing'!r}.", field="out"
        )
    if not addresses and path.suffix.lower() != ".zarr":
        raise BadValue("Say which cells to write with --site.", field="site")
    if len(addresses) > 1 and path.suffix.lower() in (".npy", ".csv"):
        raise BadValue(
            f"A {path.suffix} file holds one site; .safetensors and .zarr hold several.", field="site"
        )


def write_trace(trace: Trace, addresses: Sequence[str], path: Path) -> None:
    """Cells to a file, in the format its name ends with. Raises BadValue and KeyError; a file there is kept then."""
    check_file(addresses, path)
    try:
        if path.suffix.lower() == ".zarr":
            trace.save(path, addresses=addresses or None)
            return
        with replacing_file(path) as file:
            WRITERS[path.suffix.lower()](trace, addresses, file)
    except OSError as error:
        raise BadValue(f"{path.name} cannot be written: {error.strerror or error}.", field="out") from None


def write_npy(trace: Trace, addresses: Sequence[str], path: Path) -> None:
    cells = np.ascontiguousarray(trace.numpy(addresses[0]))
    with path.open("wb") as file:
        # Not `np.save`: it writes past Python's file, and does not notice that a disk is full.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(cells))
        file.write(cells.data)


def write_safetensors(trace: Trace, addresses: Sequence[str], path: Path) -> None:
    """Each site under its address; tokens and axes as JSON in the metadata."""
    from safetensors.numpy import save

    axes = {address: site.axes for address, site in list_sites(trace.anatomy).items() if address in addresses}
    metadata = {
        "model_id": trace.anatomy.model_id,
        "token_ids": json.dumps(trace.token_ids),
        "tokens": json.dumps(trace.tokens),
        "prompt_count": str(trace.prompt_count),
        "axes": json.dumps(axes),
    }
    arrays = {address: np.ascontiguousarray(trace.numpy(address)) for address in addresses}
    path.write_bytes(save(arrays, metadata=metadata))


def write_csv(trace: Trace, addresses: Sequence[str], path: Path) -> None:
    """A row for each cell: its index by axis, the tokens its positions stand for, its value."""
    address = addresses[0]
    cells = trace.numpy(address)
    site = list_sites(trace.anatomy)[address]
    if cells.size >= MOST_CSV_ROWS:
        raise BadValue(
            f"{address} has {cells.size:,} cells, too many for csv; write .npy, .safetensors or .zarr.",
            field="out",
        )
    labelled = [at for at, axis in enumerate(site.axes) if axis in ("pos", "query", "key")]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [f"{site.axes[at]}_token" for at in labelled]
        writer.writerow([*site.axes, *names, address])
        for index in itertools.product(*map(range, cells.shape)):
            writer.writerow(
                [*index, *(trace.tokens[index[at]] for at in labelled), repr(float(cells[index]))]
            )


WRITERS: dict[str, Callable[[Trace, Sequence[str], Path], None]] = {
    ".npy": write_npy,
    ".safetensors": write_safetensors,
    ".csv": write_csv,
}
