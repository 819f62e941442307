"""A model's weights as a Zarr store: each parameter an array, read in slices, never copied whole."""

from __future__ import annotations

from glassformer.model.load import LoadedModel
from glassformer.protocol.messages import Weight
from glassformer.tiles.level import Array, Region
from glassformer.tiles.store import ArrayView, ZarrReply, ZarrStore
from glassformer.trace.recording import to_numpy


def weight_store(loaded: LoadedModel) -> ZarrStore:
    """The store of all parameters the anatomy lists; tied ones appear under each of their names."""
    weights: list[Weight] = []
    if loaded.anatomy is not None:
        weights = [*loaded.anatomy.weights, *(w for block in loaded.anatomy.blocks for w in block.weights)]

    def view(weight: Weight) -> ArrayView:
        def read(region: Region) -> Array:
            return to_numpy(loaded.structure.parameter(weight.name)[region])

        return ArrayView(
            shape=tuple(weight.shape),
            axes=tuple(weight.axes),
            read=read,
            attributes={"address": weight.name, "role": weight.role, "dtype": weight.dtype, "units": "1"},
        )

    arrays = {weight.name: view(weight) for weight in weights if weight.shape}
    return ZarrStore(arrays, {"model_id": loaded.model_id}, growing=False)


def weight_zarr_get(loaded: LoadedModel, key: str) -> ZarrReply:
    """The bytes of one key of the weights' store. Raises UnknownKey."""
    return weight_store(loaded).get(key)
