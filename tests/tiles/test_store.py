"""The store, opened by zarr-python: it must be an ordinary Zarr v3 hierarchy."""

import json
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from glassformer.errors import UnknownKey
from glassformer.tiles.level import count_levels, pool, read_level
from glassformer.tiles.store import ArrayView, ZarrStore


def make_store(
    shape: tuple[int, ...] = (3, 150, 700), growing: bool = True
) -> tuple[np.ndarray[Any, Any], ZarrStore]:
    cells = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    axes = ("head", "pos", "d_head")[-len(shape) :]
    view = ArrayView(
        shape=shape, axes=axes, read=lambda region: cells[region], attributes={"provenance": "captured"}
    )
    return cells, ZarrStore({"q.3": view}, {"model_id": "m"}, growing=growing)


async def copy_into_memory(store: ZarrStore) -> MemoryStore:
    memory = MemoryStore()
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    for key in store.list_keys():
        await memory.set(key, buffer.from_bytes(store.get(key).body))
    return memory


@pytest.mark.anyio
async def test_zarr_python_reads_every_level() -> None:
    cells, store = make_store()
    group = zarr.open_group(await copy_into_memory(store), mode="r")
    assert dict(group.attrs)["model_id"] == "m"
    array = group["q.3/0"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("head", "pos", "d_head")  # type: ignore[union-attr]
    np.testing.assert_array_equal(array[:], cells)
    assert group["q.3"].attrs["levels"] == 5
    for level in range(1, 5):
        factor = 2**level
        pooled, mean = np.asarray(group[f"q.3/{level}"]), np.asarray(group[f"q.3/{level}_mean"])
        assert pooled.shape == (3, -(-150 // factor), -(-700 // factor))
        block = cells[1, :factor, factor : 2 * factor]
        assert pooled[1, 0, 1] == block.flat[np.abs(block).argmax()]
        assert mean[1, 0, 1] == pytest.approx(block.mean(), rel=1e-5)


@pytest.mark.anyio
async def test_consolidated_metadata_lists_every_array() -> None:
    _, store = make_store()
    root = json.loads(store.get("zarr.json").body)
    listed = set(root["consolidated_metadata"]["metadata"])
    assert listed == {
        key.removesuffix("/zarr.json") for key in store.list_keys() if key.endswith("/zarr.json")
    }


@pytest.mark.parametrize("shape", [(5,), (64, 64), (65, 3), (1, 1), (2, 130, 131)])
@pytest.mark.anyio
async def test_odd_shapes(shape: tuple[int, ...]) -> None:
    cells, store = make_store(shape)
    group = zarr.open_group(await copy_into_memory(store), mode="r")
    np.testing.assert_array_equal(np.asarray(group["q.3/0"]), cells)


def test_strips_give_what_one_read_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = np.random.default_rng(1).normal(size=(2, 300, 80)).astype(np.float32)
    region = (slice(0, 2), slice(0, 75), slice(0, 20))
    whole = read_level(lambda r: cells[r], cells.shape, 2, region, "magnitude")
    monkeypatch.setattr("glassformer.tiles.level.STRIP_CELLS", 1)
    strips = read_level(lambda r: cells[r], cells.shape, 2, region, "magnitude")
    np.testing.assert_array_equal(whole, strips)
    np.testing.assert_array_equal(whole, pool(cells, "magnitude", 4))


def test_masked_cells_do_not_win_a_pool() -> None:
    cells = np.array([[1.0, -np.inf], [-3.0, -np.inf]], dtype=np.float32)
    assert pool(cells, "magnitude", 2) == [[-3.0]]
    assert pool(cells, "mean", 2) == [[-1.0]]
    assert not np.isfinite(pool(np.full((2, 2), -np.inf, np.float32), "magnitude", 2)).any()


def test_only_finished_chunks_are_immutable() -> None:
    _, store = make_store((3, 150, 700))
    assert store.get("q.3/0/c/0/1/0").immutable
    assert not store.get("q.3/0/c/0/2/0").immutable
    assert not store.get("zarr.json").immutable
    _, finished = make_store((3, 150, 700), growing=False)
    assert finished.get("q.3/0/c/0/2/0").immutable


def test_etags_follow_the_bytes() -> None:
    cells, store = make_store()
    before = store.get("q.3/0/c/0/0/0").etag
    assert store.get("q.3/0/c/0/0/0").etag == before
    cells[0, 0, 0] += 1
    assert store.get("q.3/0/c/0/0/0").etag != before


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "q.3",
        "q.3/9/zarr.json",
        "q.3/0/c/0/0",
        "q.3/0/c/0/0/9",
        "q.3/0/c/0/-1/0",
        "../zarr.json",
        "q.3/0/c/0/0/0/0",
    ],
)
def test_keys_outside_the_store(key: str) -> None:
    with pytest.raises(UnknownKey):
        make_store()[1].get(key)


def test_levels_end_where_a_matrix_fits() -> None:
    assert [count_levels(s) for s in [(64, 64), (65, 2), (2, 129), (40, 1500)]] == [1, 2, 3, 6]
