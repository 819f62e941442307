"""What `glassformer shape` prints: a model's parts and their sizes, and the memory it would take."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from glassformer.bundled.shape import SHAPES
from glassformer.errors import ModelRefused
from glassformer.files.catalog import Catalog
from glassformer.files.size import DTYPE_BYTES, INT4_BYTES, format_bytes
from glassformer.protocol.shape import ModelShape, PartSize
from glassformer.shape.shelf import ShapeShelf

PART_NAMES = {"shared_experts": "shared experts", "head": "output table", "position": "positions"}


def find_shape(catalog: Catalog, name: str) -> ModelShape:
    """The shape of an id, or of a config file on this machine. Raises as `ShapeShelf.find` and `describe_shape`."""
    path = Path(name).expanduser()
    config = path / "config.json" if path.is_dir() else path
    if config.is_file():
        from glassformer.shape.shape import describe_shape

        return describe_shape(config, path.stem if path.is_file() else path.resolve().name)
    if path.suffix == ".json":
        raise ModelRefused("There is no such file.", field="shape")
    return ShapeShelf(catalog).find(name)


def print_list(console: Console) -> None:
    """The shapes that ship with the program."""
    table = Table("shape", "parameters", "description", box=None, pad_edge=False)
    for shape in SHAPES.values():
        table.add_row(shape.name, f"{shape.parameters:,}", shape.description)
    console.print(table)


def print_shape(shape: ModelShape, console: Console) -> None:
    """Blocks and parts as a table, then what it all takes."""
    anatomy, sizes = shape.anatomy, shape.anatomy.dimensions
    console.print(f"{anatomy.title} ({anatomy.architecture})", highlight=False)
    console.print(
        f"{sizes.blocks} blocks, {sizes.heads} heads, {sizes.kv_heads} key/value heads, width {sizes.d_model}, "
        f"{sizes.vocab:,} tokens, context {sizes.context:,}",
        highlight=False,
    )
    if anatomy.refused:
        console.print(f"Its parts are not told apart: {anatomy.refused}.", highlight=False)
    table = Table("where", "part", box=None, pad_edge=False)
    for title in ("parameters", "all blocks", "share"):
        table.add_column(title, justify="right")
    for where, count, parts in list_groups(shape):
        for row, part in enumerate(parts):
            total = part.parameters * count
            table.add_row(
                where if row == 0 else "",
                PART_NAMES.get(part.kind, part.kind),
                f"{part.parameters:,}",
                f"{total:,}",
                f"{total / anatomy.parameters:.1%}",
            )
    table.add_row("", "", "", f"{anatomy.parameters:,}", "", style="bold")
    console.print(table)
    if shape.active != anatomy.parameters:
        console.print(f"One token passes through {shape.active:,} of them.", highlight=False)
    for line in list_memory(shape):
        console.print(line, highlight=False)


def list_groups(shape: ModelShape) -> Iterable[tuple[str, int, list[PartSize]]]:
    yield "outside", 1, shape.parts
    for template in shape.templates:
        block = template.block
        heads = f", {block.heads} heads" if block.heads and block.kind not in ("linear", "none") else ""
        where = f"{len(template.blocks)} x {block.kind}{heads}: {say_runs(template.blocks)}"
        yield where, len(template.blocks), template.parts


def say_runs(numbers: list[int]) -> str:
    """`0-2, 5`: whole numbers in order, neighbours joined; of many runs the first three."""
    starts = [number for before, number in pairwise([-2, *numbers]) if number != before + 1]
    ends = [number for number, after in pairwise([*numbers, -2]) if after != number + 1]
    runs = [f"{a}-{b}" if a != b else f"{a}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")


def list_memory(shape: ModelShape) -> Iterable[str]:
    """Sentences on bytes: of the weights in three formats, and of the keys and values of each token."""
    parameters = shape.anatomy.parameters
    sizes = {"bfloat16": DTYPE_BYTES["bfloat16"], "float32": DTYPE_BYTES["float32"], "int4": INT4_BYTES}
    said = ", ".join(f"{format_bytes(int(parameters * size))} in {name}" for name, size in sizes.items())
    yield f"Weights: {said}."
    if shape.cached:
        each = shape.cached * DTYPE_BYTES["bfloat16"]
        context = shape.anatomy.dimensions.context
        yield (
            f"Keys and values: {format_bytes(each)} for each token in bfloat16, "
            f"{format_bytes(each * context)} for all {context:,}."
        )
    if shape.latent:
        each = shape.latent * DTYPE_BYTES["bfloat16"]
        yield f"Kept compressed, as latent attention allows: {format_bytes(each)} for each token."
