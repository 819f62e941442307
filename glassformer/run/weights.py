"""A model's weights as a Zarr store: each parameter an array, read in slices; one in fewer bits is restored whole.

Memory: the parameters themselves are the model's. A picture of one costs what `tiles/level.py` states for a request
(48 MiB at most, and as much again where the weights are not float32 and a strip is converted), and the chunks of
coarse levels kept for a model stay under `COARSE_BYTES`.
"""

from __future__ import annotations

import weakref

from glassformer.budget import Budget, ByteCache
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import Weight
from glassformer.run.recording import to_numpy
from glassformer.tiles.level import SMALLEST_SIDE, Array, Region, count_levels
from glassformer.tiles.zarr_store import ArrayView, ZarrReply, ZarrStore

# Coarse chunks kept for each model: every level past the second of a model of a billion parameters.
COARSE_BYTES = 64 * 2**20

_stores: weakref.WeakKeyDictionary[LoadedModel, ZarrStore] = weakref.WeakKeyDictionary()


def weight_store(loaded: LoadedModel) -> ZarrStore:
    """The store of all parameters the anatomy lists; tied ones appear under each of their names."""
    store = _stores.get(loaded)
    if store is None:
        store = _stores[loaded] = ZarrStore(
            _weight_views(loaded, coarse_side=None),
            {"model_id": loaded.model_id},
            growing=False,
            coarse=ByteCache(Budget(COARSE_BYTES), len),
        )
    return store


def coarse_weight_store(loaded: LoadedModel, side: int = 2 * SMALLEST_SIDE) -> ZarrStore:
    """The same without levels of more than `side` cells a side: pictures of the weights, not the weights."""
    return ZarrStore(_weight_views(loaded, coarse_side=side), {"model_id": loaded.model_id}, growing=False)


def weight_zarr_get(loaded: LoadedModel, key: str) -> ZarrReply:
    """The bytes of one key of the weights' store. Raises UnknownKey."""
    return weight_store(loaded).get(key)


def _weight_views(loaded: LoadedModel, *, coarse_side: int | None) -> dict[str, ArrayView]:
    # Not `loaded` itself: the store is kept for as long as that lives.
    # First: a store that was made before anybody had looked into the model would stay empty.
    anatomy = loaded.read_anatomy()
    structure = loaded.structure
    weights: list[Weight] = []
    if anatomy is not None:
        weights = [*anatomy.weights, *(weight for block in anatomy.blocks for weight in block.weights)]

    def view(weight: Weight) -> ArrayView:
        def read(region: Region) -> Array:
            return to_numpy(structure.parameter(weight.name)[region])

        first_level = 0
        while coarse_side is not None and max(weight.shape[-2:]) > coarse_side * 2**first_level:
            first_level += 1
        return ArrayView(
            shape=tuple(weight.shape),
            axes=tuple(weight.axes),
            read=read,
            attributes={
                "address": weight.name,
                "role": weight.role,
                "dtype": weight.dtype,
                "units": "1",
                "provenance": "parameter",
            },
            first_level=min(first_level, count_levels(weight.shape) - 1),
        )

    return {weight.name: view(weight) for weight in weights if weight.shape}
