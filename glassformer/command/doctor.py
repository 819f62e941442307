"""`glassformer doctor`: what of a model can be trusted here, measured on this machine."""

from __future__ import annotations

import platform
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glassformer.protocol.anatomy import Anatomy, Site, list_sites
from glassformer.run.fidelity import measure_attention, measure_reruns
from glassformer.tested import list_newer

if TYPE_CHECKING:
    from glassformer.notebook import Model

LIBRARIES = ("glassformer", "torch", "transformers", "tokenizers", "interp-engine", "zarr", "numpy")
STYLES = {"exact": "green", "close": "green", "undecided": "yellow", "refused": "yellow"}
LEGEND = (
    "exact: its equation gives the model's own numbers to the bit. close: each cell is within what rounding explains "
    "there, up to twice that. undecided: so do other equations, and the numbers cannot tell them apart. "
    "refused: not shown, with the reason; the model writes text all the same."
)


def print_environment(console: Console) -> None:
    """Versions and the machine, in one line, and another for versions that are newer than what was tested."""
    found = [f"{name} {find_version(name)}" for name in LIBRARIES]
    console.print(
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {', '.join(found)}"
    )
    newer = list_newer()
    if newer:
        console.print(f"Newer than what was tested: {', '.join(map(str, newer))}.", style="yellow")


def find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def print_health(model: Model, console: Console) -> None:
    """The model, its self-check site by site, and three measurements on a short prompt."""
    import torch

    loaded = model.loaded
    console.print(f"{model!r}, {torch.get_num_threads()} threads")
    if loaded.note:
        console.print(loaded.note, style="yellow")
    anatomy = loaded.anatomy
    if anatomy is None or anatomy.refused is not None:
        reason = "looking into it failed" if anatomy is None else anatomy.refused
        console.print(f"It is served, and cannot be looked into: {reason}.", style="yellow")
        return
    console.print()
    console.print(tabulate_checks(anatomy))
    console.print(LEGEND, style="dim")
    console.print()
    console.print(tabulate_measurements(model))


def tabulate_measurements(model: Model) -> Table:
    """Differences that should be zero, or rounding."""
    table = Table("measured on a short prompt", "largest difference", box=None, pad_edge=False)
    for name, difference in measure_attention(model.loaded).items():
        table.add_row(f"logits, {name}", f"{difference:.3g}")
    reruns = measure_reruns(model.loaded)
    if reruns:
        worst = max(reruns, key=reruns.__getitem__)
        table.add_row(f"one block run again from its recording, worst block {worst}", f"{reruns[worst]:.3g}")
    fault = model.loaded.packing_fault
    table.add_row("generations share forwards", "yes" if fault is None else f"no: {fault}")
    return table


def tabulate_checks(anatomy: Anatomy) -> Table:
    """A row for each point and each thing that was found of it, with the blocks of which it was found."""
    table = Table(
        "site", "check", "blocks", "largest difference", "of its rounding", "reason", box=None, pad_edge=False
    )
    points: defaultdict[str, defaultdict[tuple[str, str], list[Site]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for site in list_sites(anatomy).values():
        points[site.point][site.check.status, site.check.reason or ""].append(site)
    for point, findings in points.items():
        for (status, reason), found in sorted(findings.items()):
            table.add_row(
                point,
                Text(status, style=STYLES[status]),
                join_runs([site.block for site in found if site.block is not None]),
                write_largest([site.check.max_abs_difference for site in found])
                if status != "exact"
                else "0",
                write_furthest(found),
                Text(reason),
            )
    return table


def write_furthest(sites: list[Site]) -> str:
    """The largest difference of a cell as a share of what rounding explains there."""
    found = [site.check.worst for site in sites]
    shares = [worst.difference / worst.bound for worst in found if worst is not None and worst.bound]
    return f"{max(shares):.2g}" if shares else ""


def write_largest(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{max(found):.2g}" if found else ""


def join_runs(blocks: list[int]) -> str:
    """`[0, 1, 2, 5]` as `0-2, 5`."""
    runs: list[list[int]] = []
    for block in sorted(blocks):
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
