"""Adapters in a registry: they go with their base when nobody uses them, and keep it while somebody does."""

import threading
from pathlib import Path
from typing import Any

import pytest
from adapters import make_adapter
from tiny import make_model

from glassformer.errors import InUse, ModelRefused
from glassformer.files.catalog import Catalog
from glassformer.loading.options import LoadOptions
from glassformer.registry.registry import Registry

ADAPTERS = ("llama+first", "llama+second")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models").resolve()
    make_model(root / "llama", "llama")
    make_model(root / "gpt2", "gpt2")
    make_model(root / "other", "gpt2")
    make_adapter(root / "llama", root / "first", seed=1)
    make_adapter(root / "llama", root / "second", seed=2)
    return root


@pytest.fixture
def gone() -> list[str]:
    return []


@pytest.fixture
def registry(root: Path, gone: list[str]) -> Registry:
    return Registry(
        Catalog([root], offline=True), device="cpu", on_unload=lambda loaded: gone.append(loaded.model_id)
    )


def load(registry: Registry) -> list[Any]:
    return [registry.load(name).result(60) for name in ("llama", *ADAPTERS)]


def join_loads(name: str) -> None:
    """Wait until nothing is done for the loading of a model any more."""
    for thread in threading.enumerate():
        if thread.name == f"load {name}":
            thread.join(60)


def test_idle_adapters_go_with_their_base(registry: Registry, gone: list[str]) -> None:
    load(registry)
    registry.unload("llama")
    assert gone == [*ADAPTERS, "llama"]
    assert registry.held_bytes("cpu") == 0


def test_a_base_that_must_stay_loses_nothing(registry: Registry, gone: list[str]) -> None:
    base, first, second = load(registry)
    for used in (base, second):
        with registry.use(used), pytest.raises(InUse, match="running uses"):
            registry.unload("llama")
    for pinned in ("llama", "llama+second"):
        registry.pin(pinned)
        with pytest.raises(InUse, match="pinned"):
            registry.unload("llama")
        registry.pin(pinned, pinned=False)
    assert gone == []
    assert load(registry) == [base, first, second]


def test_a_base_is_loaded_in_another_way_with_idle_adapters_over_it(
    registry: Registry, gone: list[str]
) -> None:
    base, first, _ = load(registry)
    other = LoadOptions(device="cpu", dtype="bfloat16")
    with registry.use(first), pytest.raises(InUse, match="running uses"):
        registry.load("llama", other)
    registry.pin("llama+second")
    with pytest.raises(InUse):
        registry.load("llama", other)
    registry.pin("llama+second", pinned=False)
    assert gone == []
    again = registry.load("llama", other).result(60)
    assert again is not base
    join_loads("llama")
    assert gone == [*ADAPTERS, "llama"]
    assert registry.load("llama+first").result(60).base is again


def test_room_is_made_by_a_base_that_was_used_longest_ago_with_its_adapters(
    registry: Registry, gone: list[str]
) -> None:
    load(registry)
    registry.load("gpt2").result(60)
    registry.budget_bytes = registry.held_bytes("cpu")
    assert registry.load("other").result(60)
    assert gone[-1] == "llama"
    assert "gpt2" not in gone


def test_a_base_stays_while_its_adapters_are_newer_than_others(registry: Registry, gone: list[str]) -> None:
    load(registry)
    registry.load("gpt2").result(60)
    registry.load("llama+first").result(60)
    registry.budget_bytes = registry.held_bytes("cpu")
    assert registry.load("other").result(60)
    assert gone == ["llama+second", "gpt2"]


def test_a_base_that_fails_is_started_once(root: Path, tmp_path: Path) -> None:
    make_model(tmp_path / "broken", "llama")
    make_adapter(tmp_path / "broken", tmp_path / "over")
    (tmp_path / "broken" / "config.json").write_text("{}")
    started: list[str] = []

    class Counting(Catalog):
        def fetch(self, source: Any, **more: Any) -> Path:
            started.append(source.model_id)
            return super().fetch(source, **more)

    registry = Registry(Counting([tmp_path.resolve()], offline=True), device="cpu")
    for times in range(1, 4):
        with pytest.raises(ModelRefused, match="base 'broken' cannot be loaded"):
            registry.load("broken+over").result(60)
        join_loads("broken")
        assert started == ["broken"] * times


def test_the_disk_is_not_read_with_the_lock_held(
    root: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary reads configs; whoever looks a model up meanwhile does not wait for a slow disk."""
    registry.load("gpt2").result(60)
    read, found = Path.read_text, []

    def look_up_meanwhile(path: Path, *given: Any, **more: Any) -> str:
        thread = threading.Thread(target=registry.count_ready)
        thread.start()
        thread.join(2)
        found.append(not thread.is_alive())
        return read(path, *given, **more)

    monkeypatch.setattr(Path, "read_text", look_up_meanwhile)
    for name in ("llama", "first"):
        (root / name / "note").write_text(name)  # or what was found out about it before is known still
        registry.summary(name)
    registry.summaries()
    assert len(found) > 1
    assert all(found)
