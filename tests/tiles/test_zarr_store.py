"""The store, opened by zarr-python: it must be an ordinary Zarr v3 hierarchy."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from glassformer.budget import Budget, ByteCache
from glassformer.errors import UnknownKey
from glassformer.tiles.level import STRIP_CELLS, Pooling, count_levels, read_level
from glassformer.tiles.zarr_store import ArrayView, ZarrStore


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


def pool_plainly(cells: np.ndarray[Any, Any], factor: int, pooling: Pooling) -> np.ndarray[Any, Any]:
    """Pool by pool, as the definition says it."""
    rows, columns = (-(-size // factor) for size in cells.shape[-2:])
    pooled = np.full((*cells.shape[:-2], rows, columns), np.nan, np.float32)
    for at in np.ndindex(*pooled.shape):
        *lead, row, column = at
        down, across = (slice(i * factor, (i + 1) * factor) for i in (row, column))
        pool = cells[(*lead, down, across)].ravel()
        pool = pool[np.isfinite(pool)]
        if pool.size:
            largest = max(pool, key=lambda value: (abs(value), value))
            pooled[at] = largest if pooling == "magnitude" else pool.mean(dtype=np.float64)
    return pooled


@pytest.mark.parametrize("pooling", ["magnitude", "mean"])
@pytest.mark.parametrize("strip_cells", [1, 700, 5000, 10**9])
@pytest.mark.parametrize("shape", [(2, 101, 43), (64, 70), (3, 1)])
def test_strips_of_any_size_give_the_pools(
    shape: tuple[int, ...], strip_cells: int, pooling: Pooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassformer.tiles.level.STRIP_CELLS", strip_cells)
    cells = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    cells[..., :3, :9] = -np.inf
    cells[..., 2, 0] = np.nan
    asked: list[int] = []

    def read(region: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        found = cells[region]
        asked.append(found.size)
        return found

    for level in (1, 2, 3):
        region = tuple(
            slice(0, size if axis < len(shape) - 2 else -(-size // 2**level))
            for axis, size in enumerate(shape)
        )
        found = read_level(read, shape, level, region, pooling)
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(pool_plainly(cells, 2**level, pooling)))
        finite = np.isfinite(found)
        np.testing.assert_allclose(
            found[finite],
            pool_plainly(cells, 2**level, pooling)[finite],
            rtol=0 if pooling == "magnitude" else 1e-6,
        )
    row = cells.size // shape[-2]
    assert max(asked) <= max(strip_cells, row)


def test_vectors_are_pooled_too() -> None:
    cells = np.random.default_rng(2).normal(size=301).astype(np.float32)
    found = read_level(lambda region: cells[region], cells.shape, 3, (slice(5, 38),), "magnitude")
    np.testing.assert_array_equal(found, pool_plainly(np.repeat(cells[:, None], 1, 1), 8, "magnitude")[5:, 0])


def test_masked_cells_do_not_win_a_pool() -> None:
    cells = np.array([[1.0, -np.inf], [-3.0, -np.inf]], dtype=np.float32)
    region = (slice(0, 1), slice(0, 1))
    assert read_level(lambda r: cells[r], (2, 2), 1, region, "magnitude") == [[-3.0]]
    assert read_level(lambda r: cells[r], (2, 2), 1, region, "mean") == [[-1.0]]
    cells[:] = -np.inf
    assert not np.isfinite(read_level(lambda r: cells[r], (2, 2), 1, region, "magnitude")).any()


@pytest.mark.parametrize("rows", [63, 64, 127, 128, 255, 256])
def test_rows_that_come_change_no_chunk_whose_rows_are_all_there(rows: int) -> None:
    """So whoever asks again for what it has of a text that goes on is told that it has it."""
    cells = np.random.default_rng(0).normal(size=(3, rows + 1, 40)).astype(np.float32)

    def record(count: int) -> ZarrStore:
        view = ArrayView(
            (3, count, 40), ("head", "pos", "d_head"), lambda region: cells[:, :count][region], {}
        )
        return ZarrStore({"q.3": view}, {}, growing=True)

    before, after = record(rows), record(rows + 1)
    for key in before.list_keys():
        if "/c/" not in key:
            continue
        level, _, _, row, _ = key.removeprefix("q.3/").split("/")
        if (int(row) + 1) * 64 * 2 ** int(level.partition("_")[0]) <= rows:
            assert before.get(key).etag == after.get(key).etag, key


@pytest.mark.anyio
async def test_a_settled_store_has_the_same_keys_without_padding() -> None:
    cells, store = make_store((3, 10, 70))
    assert store.settle().list_keys() == store.list_keys()
    for each in (store, store.settle()):
        assert each.nbytes == sum(len(each.get(key).body) for key in each.list_keys() if "/c/" in key)
    for head in range(3):
        key = f"q.3/0/c/{head}/0/0"
        assert len(store.settle().get(key).body) == cells[head].nbytes < len(store.get(key).body)
    group = zarr.open_group(await copy_into_memory(store.settle()), mode="r")
    np.testing.assert_array_equal(np.asarray(group["q.3/0"]), cells)


def test_one_head_or_expert_is_one_chunk_and_reads_no_other() -> None:
    """Whoever looks at one head of a block is sent that head alone; kernels of a convolution stay together."""
    cells, asked = np.random.default_rng(4).normal(size=(6, 40, 8)).astype(np.float32), []

    def read(region: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        asked.append(region[0])
        return cells[region]

    views = {
        name: ArrayView(cells.shape, axes, read)
        for name, axes in {
            "z.0": ("head", "pos", "d_head"),
            "k.0": ("kv_head", "pos", "d_head"),
            "experts": ("expert", "row", "column"),
            "kernels": ("channel", "row", "column"),
        }.items()
    }
    store = ZarrStore(views, {}, growing=False)
    for name in ("z.0", "k.0", "experts"):
        body = store.get(f"{name}/0/c/4/0/0").body
        np.testing.assert_array_equal(np.frombuffer(body, "<f4").reshape(40, 8), cells[4])
    assert asked == [slice(4, 5)] * 3
    assert store.get("kernels/0/c/0/0/0").body == cells.tobytes()


def test_levels_that_are_too_fine_can_be_left_out() -> None:
    cells = np.ones((300, 300), np.float32)
    view = ArrayView(cells.shape, ("row", "column"), lambda region: cells[region], first_level=2)
    store = ZarrStore({"w": view}, {}, growing=False)
    assert json.loads(store.get("w/zarr.json").body)["attributes"]["first_level"] == 2
    assert {key.split("/")[1] for key in store.list_keys() if "/" in key} == {
        "zarr.json",
        "2",
        "2_mean",
        "3",
        "3_mean",
    }
    with pytest.raises(UnknownKey):
        store.get("w/0/c/0/0")


def test_coarse_chunks_are_made_once() -> None:
    cells, reads = np.ones((300, 300), np.float32), 0

    def read(region: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        nonlocal reads
        reads += 1
        return cells[region]

    view = ArrayView(cells.shape, ("row", "column"), read)
    cache = ByteCache(Budget(64 * 1024), len)
    store = ZarrStore({"w": view}, {}, growing=False, coarse=cache)
    first = store.get("w/2/c/0/0")
    assert (store.get("w/2/c/0/0"), reads) == (first, 1)
    store.get("w/0/c/0/0")
    assert store.get("w/2_mean/c/0/0").body == first.body
    assert reads == 3
    for key in store.list_keys():
        store.get(key)
    assert 0 < cache.nbytes <= 64 * 1024


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
        "q.3/0/c/00/0/0",
        "q.3/0/c/٠/0/0",
        "q.3/0/c/0/0/99999999999",
        "q.3/1_max/zarr.json",
    ],
)
def test_keys_outside_the_store(key: str) -> None:
    with pytest.raises(UnknownKey):
        make_store()[1].get(key)


def test_levels_end_where_a_matrix_fits() -> None:
    assert [count_levels(s) for s in [(64, 64), (65, 2), (2, 129), (40, 1500)]] == [1, 2, 3, 6]


def test_a_picture_of_a_large_weight_is_made_without_holding_it() -> None:
    """The embedding of a model of a billion parameters, a gigabyte of cells: strips of 16 MiB, 48 MiB in all."""
    shape, asked = (128256, 2048), []
    row = np.random.default_rng(3).normal(size=shape[1]).astype(np.float32)

    def read(region: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        rows, columns = region
        asked.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return np.broadcast_to(row[columns], (rows.stop - rows.start, columns.stop - columns.start))

    view = ArrayView(shape, ("vocab", "d_model"), read)
    store = ZarrStore({"embedding": view}, {}, growing=False)
    for level in (1, 5, 9, 11):
        keys = [key for key in store.list_keys() if key.startswith(f"embedding/{level}/c/")]
        tracemalloc.start()
        bodies = [store.get(key).body for key in keys[:4]]
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 48 * 2**20
        assert np.frombuffer(bodies[0], "<f4")[0] == max(row[: 2**level], key=abs)
    assert max(asked) <= STRIP_CELLS
