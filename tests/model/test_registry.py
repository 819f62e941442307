"""Models in memory: loaded once, leased, listed, unloaded."""

import threading
from pathlib import Path

import pytest
from tiny import make_models

from glassformer.errors import InUse, NoRoom, UnknownModel
from glassformer.model.registry import Registry, total_memory_bytes
from glassformer.model.source import Catalog
from glassformer.protocol.messages import LoadProgress


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(Catalog([root], offline=True), device="cpu")


def test_many_ask_and_it_loads_once(registry: Registry) -> None:
    seen: list[LoadProgress] = []
    registry.listen("llama", seen.append)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.load("llama").result(60))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert len({id(loaded) for loaded in found}) == 1
    assert [progress.stage for progress in seen] == ["queued", "reading", "checking", "ready"]


def test_two_at_the_same_time_do_not_spoil_each_other(root: Path) -> None:
    """transformers builds models with patched globals; GPT-2 ties its weights, Llama here does not."""
    for _ in range(3):
        registry = Registry(Catalog([root], offline=True), device="cpu")
        for future in [registry.load(name) for name in ("llama", "gpt2", "tales", "sorter")]:
            assert future.result(60).anatomy is not None


def test_a_path_and_a_name_are_one_model(registry: Registry, root: Path) -> None:
    assert registry.load("gpt2").result(60) is registry.load(str(root / "gpt2")).result(60)


def test_who_stops_waiting_cancels_nothing(registry: Registry) -> None:
    assert not registry.load("gpt2").cancel()
    assert registry.load("gpt2").result(60)


def test_leases_keep_a_model(registry: Registry) -> None:
    loaded = registry.load("gpt2").result(60)
    with registry.use(loaded), registry.use(loaded):
        with pytest.raises(InUse):
            registry.unload("gpt2")
        assert registry.load("gpt2").result() is loaded
    registry.unload("gpt2")
    registry.unload("gpt2")
    with pytest.raises(InUse), registry.use(loaded):
        pass
    assert registry.load("gpt2").result(60) is not loaded


def test_failures_are_remembered_and_tried_again(registry: Registry) -> None:
    for _ in range(2):
        with pytest.raises(UnknownModel):
            registry.load("nobody/nothing").result(60)
    progress = registry.progress("nobody/nothing")
    assert progress is not None
    assert progress.stage == "failed"
    assert "nobody/nothing" in progress.detail
    # A mistyped name is nobody's offer.
    assert "nobody/nothing" not in [summary.model_id for summary in registry.summaries()]


def test_failures_do_not_fill_the_memory(registry: Registry) -> None:
    for number in range(100):
        with pytest.raises(UnknownModel):
            registry.load(f"nobody/{number}").result(60)
    assert len(registry._entries) <= 65


def test_room_is_made_by_those_longest_unused(root: Path) -> None:
    dropped: list[str] = []
    registry = Registry(
        Catalog([root], offline=True), device="cpu", on_unload=lambda loaded: dropped.append(loaded.model_id)
    )
    for name in ("llama", "gpt2", "sorter"):
        registry.load(name).result(60)
    assert dropped == []
    registry.budget_bytes = registry.loaded_bytes() - 1
    registry.unload("sorter")
    dropped.clear()
    registry.load("llama").result()
    registry.load("sorter").result(60)
    assert dropped == ["gpt2"]


def test_no_room(root: Path) -> None:
    registry = Registry(Catalog([root], offline=True), device="cpu", budget_bytes=400_000)
    with pytest.raises(NoRoom, match="larger than"):
        registry.load("tales").result(60)
    loaded = registry.load("llama").result(60)
    registry.budget_bytes = loaded.bytes + 1000
    with registry.use(loaded), pytest.raises(NoRoom, match="in use"):
        registry.load("gpt2").result(60)
    assert registry.load("gpt2").result(60)


def test_the_memory_of_this_machine_is_known() -> None:
    assert total_memory_bytes() > 2**28
