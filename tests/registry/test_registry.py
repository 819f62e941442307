"""Models in memory: loaded once, leased, listed, unloaded."""

import random
import threading
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_model, make_models

from glassformer.errors import BadValue, InUse, ModelFailed, ModelRefused, NoRoom, Unavailable, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.loading.memory import Room, spread_over_gpus
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import describe_no_room
from glassformer.protocol.messages import LoadProgress
from glassformer.registry.registry import Registry


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
    stages = [progress.stage for progress in seen]
    # Whoever listens while it begins may come a moment after its turn did.
    in_order = list(dict.fromkeys(stages))
    assert in_order in (["queued", "reading", "checking", "ready"], ["reading", "checking", "ready"])
    assert stages.count("ready") == 1
    for stage in ("reading", "checking"):
        shares = [step.fraction for step in seen if step.stage == stage and step.fraction is not None]
        assert len(shares) >= 2
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


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


def test_unloading_gives_the_memory_back(registry: Registry) -> None:
    weights = weakref.ref(registry.load("llama").result(60).model)
    registry.unload("llama")
    assert weights() is None


def test_a_load_under_way_is_cancelled_at_once_and_gives_its_slot_back(registry: Registry) -> None:
    reached, goes_on = threading.Event(), threading.Event()
    stages: list[str] = []

    def hold(progress: LoadProgress) -> None:
        stages.append(progress.stage)
        if progress.stage == "reading":
            reached.set()
            assert goes_on.wait(60)

    # Both slots, and one that waits for one of them.
    held = [registry.listen(name, hold)[0] for name in ("llama", "gpt2", "tales")]
    assert reached.wait(60)
    for name, future in zip(("llama", "gpt2", "tales"), held, strict=True):
        registry.unload(name)
        with pytest.raises(Unavailable, match="cancelled"):
            future.result(0)
        assert registry.summary(name).status == "available"
    assert registry.held_bytes("cpu") == 0
    anew = registry.load("llama")
    goes_on.set()
    assert anew.result(60).model_id == "llama"
    assert stages.count("failed") == 3
    assert "ready" not in stages
    assert registry.summary("gpt2").status == "available"


def test_a_load_that_takes_too_long_is_ended(root: Path) -> None:
    registry = Registry(Catalog([root], offline=True), device="cpu", load_secs=0.0)
    with pytest.raises(ModelFailed, match="longer than the server allows"):
        registry.load("llama").result(60)
    assert registry.held_bytes("cpu") == 0
    registry.load_secs = 600.0
    assert registry.load("llama").result(60).model_id == "llama"


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
    registry.budget_bytes = registry.held_bytes("cpu") - 1
    registry.unload("sorter")
    dropped.clear()
    registry.load("llama").result()
    registry.load("sorter").result(60)
    assert dropped == ["gpt2"]


def test_no_room_is_told_with_the_numbers(root: Path) -> None:
    registry = Registry(Catalog([root], offline=True), device="cpu", budget_bytes=400_000)
    with pytest.raises(NoRoom, match=r"needs about \d\.\d MB of memory, and 400 kB are set aside"):
        registry.load("tales").result(60)
    assert registry.held_bytes("cpu") == 0
    loaded = registry.load("llama").result(60)
    registry.budget_bytes = loaded.bytes + 1000
    with (
        registry.use(loaded),
        pytest.raises(NoRoom, match=r"needs about \d+ kB of memory, and 1 kB are left while"),
    ):
        registry.load("gpt2").result(60)
    assert registry.load("gpt2").result(60)


def test_a_machine_that_is_full_of_other_things_is_told_apart() -> None:
    room = Room("cpu", total_bytes=16 * 10**9, free_bytes=8 * 10**9)
    assert describe_no_room(13_500_000_000, 2 * 10**9, room, is_held=True).message == (
        "The model needs about 13.5 GB of memory, and 2.0 GB are left while other models are in use, pinned or "
        "loading."
    )
    assert describe_no_room(9 * 10**9, 10**10, room, is_held=True).message == (
        "The model needs about 9.0 GB of memory, and only 8.0 GB of this machine's are free now."
    )


def test_pinned_models_stay(root: Path) -> None:
    registry = Registry(Catalog([root], offline=True), device="cpu")
    registry.pin("llama")
    loaded = registry.load("llama").result(60)
    assert registry.summary("llama").pinned
    with pytest.raises(InUse, match="pinned"):
        registry.unload("llama")
    registry.budget_bytes = loaded.bytes + 1000
    with pytest.raises(NoRoom, match="pinned"):
        registry.load("gpt2").result(60)
    assert registry.load("llama").result() is loaded
    registry.pin("llama", pinned=False)
    assert registry.load("gpt2").result(60)
    assert registry.summary("llama").status == "available"
    with pytest.raises(BadValue):
        registry.pin("a\nb")


def test_other_options_load_it_anew(registry: Registry) -> None:
    first = registry.load("llama").result(60)
    assert registry.load("llama", LoadOptions(device="cpu")).result() is first
    smaller = LoadOptions(device="cpu", dtype="bfloat16")
    with registry.use(first), pytest.raises(InUse):
        registry.load("llama", smaller)
    second = registry.load("llama", smaller).result(60)
    assert second is not first
    assert second.bytes * 2 == first.bytes == 2 * registry.held_bytes("cpu")
    # Who asks for nothing in particular takes what is there.
    assert registry.load("llama").result() is second
    summary = registry.summary("llama")
    assert (summary.dtype, summary.device, summary.quantize) == ("bfloat16", "cpu", "none")


def test_what_is_being_read_counts_before_it_is_there(root: Path) -> None:
    """Two loads at once must not both be promised the same memory."""
    registry = Registry(Catalog([root], offline=True), device="cpu")
    sizes = {}
    for name in ("llama", "gpt2"):
        sizes[name] = registry.load(name).result(60).bytes
        registry.unload(name)
    registry.budget_bytes = max(sizes.values()) + 1000
    registry.pin("llama")
    registry.pin("gpt2")
    futures = [registry.load(name) for name in sizes]
    errors = [future.exception(60) for future in futures]
    assert sum(isinstance(error, NoRoom) for error in errors) == 1
    assert registry.held_bytes("cpu") <= registry.budget_bytes


def test_threads_that_load_use_and_unload_at_once(root: Path) -> None:
    """Room for two of four: whatever happens, a model in use is neither unloaded nor loaded twice."""
    gone: list[int] = []
    registry = Registry(
        Catalog([root], offline=True), device="cpu", on_unload=lambda loaded: gone.append(id(loaded))
    )
    names = ("llama", "gpt2", "sorter")
    sizes = []
    for name in names:
        sizes.append(registry.load(name).result(60).bytes)
        registry.unload(name)
    gone.clear()
    registry.budget_bytes = sum(sizes) - 1
    faults: list[BaseException] = []
    kept: list[object] = []  # so that no id is given out twice

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(12):
            name = draw.choice(names)
            try:
                loaded = registry.load(name).result(60)
                kept.append(loaded)
                with registry.use(loaded):
                    assert id(loaded) not in gone
                    assert registry.load(name).result(60) is loaded
                    loaded.tokens([1, 2])
                    assert id(loaded) not in gone
                if draw.random() < 0.3:
                    registry.unload(name)
            except (InUse, NoRoom):
                pass
            except BaseException as exc:
                faults.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not faults
    assert len(gone) == len(set(gone)), "unloaded twice"
    assert registry.held_bytes("cpu") <= registry.budget_bytes
    ready = [name for name in names if registry.summary(name).status == "ready"]
    assert registry.held_bytes("cpu") == sum(registry.load(name).result().bytes for name in ready)
    for name in ready:
        registry.unload(name)
    assert registry.held_bytes("cpu") == 0


def test_gpus_are_filled_one_by_one_and_shared_by_what_one_cannot_hold() -> None:
    free = {0: 10 * 10**9, 1: 20 * 10**9}
    assert spread_over_gpus(5 * 10**9, free) == 1
    assert spread_over_gpus(25 * 10**9, free) == {0: 9 * 10**9, 1: 18 * 10**9, "cpu": 0}
    assert spread_over_gpus(25 * 10**9, {0: 10**9}) == 0


def test_a_way_that_does_not_write_replaces_nothing(root: Path, tmp_path: Path) -> None:
    """float16 has no number for this gain: what the model then computes is none either."""
    folder = make_overflowing(tmp_path / "mine")
    registry = Registry(Catalog([folder.parent], offline=True), device="cpu")
    first = registry.load("mine").result(60)
    broken = LoadOptions(device="cpu", dtype="float16")
    for _ in range(2):
        future = registry.load("mine", broken)
        assert registry.summary("mine").status == "loading"
        with pytest.raises(ModelRefused, match="dtype=float16 does not work for this model here") as caught:
            future.result(60)
        assert caught.value.field == "dtype"
        # What worked is still there, for who asks for nothing in particular too.
        assert registry.load("mine").result(0) is first
    with registry.use(first):
        summary = registry.summary("mine")
    assert (summary.status, summary.dtype) == ("ready", "float32")
    assert "dtype=float16 does not work" in (summary.error or "")
    assert registry.held_bytes("cpu") == first.bytes
    assert registry.load("mine", LoadOptions(device="cpu", dtype="bfloat16")).result(60) is not first
    assert registry.summary("mine").error is None


def test_a_first_way_that_does_not_write_is_not_kept(tmp_path: Path) -> None:
    folder = make_overflowing(tmp_path / "mine")
    registry = Registry(Catalog([folder.parent], offline=True), device="cpu")
    with pytest.raises(ModelRefused, match="dtype=float16"):
        registry.load("mine", LoadOptions(device="cpu", dtype="float16")).result(60)
    assert registry.summary("mine").status == "failed"
    assert registry.load("mine").result(60).dtype == torch.float32


def test_what_worked_comes_back_where_there_is_no_room_for_both(tmp_path: Path) -> None:
    folder = make_overflowing(tmp_path / "mine")
    registry = Registry(Catalog([folder.parent], offline=True), device="cpu")
    first = registry.load("mine").result(60)
    registry.budget_bytes = first.bytes + 1000
    with pytest.raises(ModelRefused, match="dtype=float16"):
        registry.load("mine", LoadOptions(device="cpu", dtype="float16")).result(60)
    again = registry.load("mine").result(60)
    assert again.dtype == torch.float32
    assert registry.summary("mine").status == "ready"
    assert "dtype=float16" in (registry.summary("mine").error or "")
    assert registry.held_bytes("cpu") == again.bytes


def test_one_in_use_is_replaced_once_nobody_uses_it(registry: Registry) -> None:
    first = registry.load("llama").result(60)
    future = registry.load("llama", LoadOptions(device="cpu", dtype="bfloat16"))
    with registry.use(first):
        with pytest.raises(InUse):
            registry.load("llama", LoadOptions(device="cpu", dtype="float16"))
        assert registry.load("llama").result() is first
        with pytest.raises(InUse):
            registry.unload("llama")
    assert registry.load("llama", LoadOptions(device="cpu", dtype="bfloat16")).result(60) is future.result(60)
    assert registry.load("llama").result() is future.result()


def make_overflowing(folder: Path) -> Path:
    """A tiny model with a gain that float32 and bfloat16 have and float16 has not."""
    make_model(folder, "llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
