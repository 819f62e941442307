"""Writes the data folder of an export whose sites are the cases, and beside it what Python says of their cells.

Run with the folder to write; the page's own test of its explanations does.
"""

import json
import sys
from pathlib import Path

import torch
from cell_case import Case, Cases
from cell_cases import make_cases
from torch import Tensor

from glassformer.explain.explain import describe_cell
from glassformer.export.answers import describe_rotary
from glassformer.operation.closed_set import compute_cell
from glassformer.protocol.anatomy import Anatomy, Check, Dimensions, Site, Weight
from glassformer.protocol.messages import Token, TraceState
from glassformer.tiles.store_folder import write_store
from glassformer.tiles.zarr_store import ArrayView, ZarrStore

GROWING = ("pos", "query", "key")


def write(folder: Path) -> None:
    made = make_cases()
    equations = {case.name: case.equation for case in made.cases}
    sites = {
        name: Site(
            address=name,
            point=name,
            axes=axes,
            shape=[None if axis in GROWING else size for axis, size in zip(axes, values.shape, strict=True)],
            provenance="captured",
            equation=equations.get(name),
            check=Check(status="exact"),
        )
        for name, values in made.operands.sites.items()
        for axes in [made.axes[name]]
    }
    store_of(made.operands.sites, made.axes, folder / "recording.zarr")
    weights = made.operands.weights
    axes = {name: ["row", "column"][2 - values.dim() :] for name, values in weights.items()}
    store_of(weights, axes, folder / "weights.zarr")
    anatomy = describe_model(list(sites.values()), weights, axes)
    (folder / "anatomy.json").write_text(anatomy.model_dump_json())
    (folder / "rotary.json").write_text(json.dumps(describe_rotary(made.operands.tables)))
    tokens = [Token(id=each, text="") for each in made.operands.tokens]
    state = TraceState(
        id="cases",
        model_id="cases",
        status="done",
        tokens=tokens,
        prompt_count=len(tokens),
        positions=len(tokens),
    )
    recording = {"recording": state.model_dump(mode="json"), "weights": "full"}
    (folder / "recording.json").write_text(json.dumps(recording))
    told = [tell(made, case, sites[case.name], index) for case in made.cases for index in case.indices]
    (folder / "told.json").write_text(json.dumps(told, allow_nan=False))


def tell(made: Cases, case: Case, site: Site, index: list[int]) -> dict[str, object]:
    """What Python says of one cell, and whether it had to ask the model for it."""
    made.operands.needed_model = False
    with torch.inference_mode():
        cell = compute_cell(case.equation, made.operands, index)
    value = float(made.operands.sites[case.name][tuple(index)])
    message = describe_cell(site, index, value, cell, torch.float16)
    return {
        "address": case.name,
        "index": index,
        "needs_model": made.operands.needed_model,
        "explanation": message.model_dump(mode="json"),
    }


def store_of(tensors: dict[str, Tensor], axes: dict[str, list[str]], path: Path) -> None:
    views = {
        name: ArrayView(
            tuple(values.shape), tuple(axes[name]), lambda region, values=values: values[region].numpy()
        )
        for name, values in tensors.items()
    }
    write_store(ZarrStore(views, {}, growing=False), path)


def describe_model(sites: list[Site], weights: dict[str, Tensor], axes: dict[str, list[str]]) -> Anatomy:
    """Of the dimensions none is true: what cells are made of is read off the equations, sites and weights."""
    return Anatomy(
        model_id="cases",
        title="cases",
        family="cases",
        architecture="cases",
        dtype="float16",
        device="cpu",
        parameters=0,
        bytes=0,
        dimensions=Dimensions(d_model=5, vocab=5, blocks=0, heads=5, kv_heads=5, d_head=5, context=5),
        before=sites,
        blocks=[],
        after=[],
        weights=[
            Weight(name=name, role="other", axes=axes[name], shape=list(values.shape), dtype="float32")
            for name, values in weights.items()
        ],
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
