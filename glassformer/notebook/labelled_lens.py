"""The logit lens with named axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from glassformer.explain.lens import count_blocks, list_lens_addresses, read_lens, read_lens_table
from glassformer.notebook.labelled import label_cells, token_coordinates
from glassformer.run.recording import to_numpy
from glassformer.tiles.level import Array, Region

if TYPE_CHECKING:
    from glassformer.run.run import Run


def lens_dataset(
    live: Run, tokens: Sequence[str], addresses: Sequence[str] | None, top: int
) -> xarray.Dataset:
    """The best predictions [block, pos, rank], and how undecided each row is."""
    table = read_lens_table(live, addresses, top=top)
    texts = [live.loaded.token(token_id).text for token_id in table.token_ids.flatten().tolist()]
    predictions = np.array(texts, dtype=object).reshape(table.token_ids.shape)
    cells, rows = ("block", "pos", "rank"), ("block", "pos")
    return xarray.Dataset(
        {
            "prediction": (cells, predictions),
            "token_id": (cells, table.token_ids.numpy()),
            "logit": (cells, table.logits.numpy()),
            "probability": (cells, table.probabilities.numpy()),
            "entropy_bits": (rows, table.entropy_bits.numpy()),
        },
        coords=lens_coordinates(live, table.addresses, tokens),
        attrs={"model_id": live.loaded.model_id, "units": "1"},
    )


def lens_logits(live: Run, tokens: Sequence[str], addresses: Sequence[str] | None) -> xarray.DataArray:
    """The logits [block, pos, vocab], read where they are used."""
    chosen = list_lens_addresses(live) if addresses is None else list(addresses)
    coordinates = lens_coordinates(live, chosen, tokens)

    def read(region: Region) -> Array:
        blocks, rows, vocab = region
        return np.stack([to_numpy(read_lens(live, address, rows))[:, vocab] for address in chosen[blocks]])

    shape = (len(chosen), live.positions, live.loaded.vocab)
    found = label_cells(read, shape, ("block", "pos", "vocab"), name="logit_lens", tokens=tokens)
    found.attrs = {"model_id": live.loaded.model_id, "units": "1"}
    return found.assign_coords(coordinates)


def lens_coordinates(live: Run, addresses: Sequence[str], tokens: Sequence[str]) -> dict[str, Any]:
    return {
        "block": ("block", [count_blocks(live, address) for address in addresses]),
        "address": ("block", np.array(addresses, dtype=object)),
        **token_coordinates(["pos"], [live.positions], tokens),
    }
