"""The anatomy as it fills: placed before anything is checked, checked when looked at, and behind who uses the model."""

import json
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny import make_models
from torch import nn

from glassformer.anatomy.checkup import Checkup, build_anatomy
from glassformer.compute.attention import NAME
from glassformer.compute.lock import QUIET_SECS
from glassformer.engine.decoding import decode
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.errors import NoRoom, UnknownAddress
from glassformer.explain.explain import explain
from glassformer.files.catalog import Catalog, ModelSource
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.reading import BUILDING
from glassformer.protocol.anatomy import Anatomy, Site, list_sites
from glassformer.protocol.messages import Sampling
from glassformer.registry.prepare import Aftercare
from glassformer.registry.registry import Registry
from glassformer.run.run_store import RunStore
from glassformer.run.weights import weight_zarr_get


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(Catalog([root], offline=True), device="cpu", checks_later=True)


def load(root: Path, name: str) -> LoadedModel:
    return load_model(ModelSource(model_id=name, kind="folder", folder=root / name), root / name)


def wait_checked(loaded: LoadedModel) -> Anatomy:
    """The whole anatomy, checked by nobody but the registry."""
    until_secs = time.monotonic() + 60
    while loaded.anatomy is None or loaded.anatomy.checked < loaded.anatomy.parts:
        assert time.monotonic() < until_secs
        time.sleep(0.02)
    return loaded.anatomy


@contextmanager
def counting_runs(model: nn.Module) -> Iterator[Counter[str]]:
    """How often each module's own code is run, by name."""
    runs: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(lambda *_, name=name: runs.update([name]))
        for name, module in model.named_modules()
    ]
    yield runs
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_nothing_moves_when_it_is_checked(root: Path, name: str) -> None:
    checkup = Checkup(load(root, name))
    outline = checkup.survey()
    assert outline is not None
    assert {site.check.status for site in list_sites(outline).values()} == {"unchecked"}
    assert (outline.checked, outline.parts) == (0, len(outline.blocks) + 1)
    while checkup.check_next():
        pass
    assert checkup.anatomy.checked == outline.parts

    def place(anatomy: Anatomy) -> Anatomy:
        bare = {"equation": None, "check": list_sites(outline)["embeddings"].check}

        def strip(sites: list[Site]) -> list[Site]:
            return [site.model_copy(update=bare) for site in sites]

        return anatomy.model_copy(
            update={
                "before": strip(anatomy.before),
                "blocks": [b.model_copy(update={"sites": strip(b.sites)}) for b in anatomy.blocks],
                "after": strip(anatomy.after),
                "checked": 0,
            }
        )

    assert place(checkup.anatomy) == outline


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_order_of_looking_changes_nothing(root: Path, name: str) -> None:
    loaded = load(root, name)
    whole = build_anatomy(loaded)
    checkup = Checkup(loaded)
    for part in random.Random(3).sample(range(whole.parts), whole.parts):
        checkup.check(part)
    assert checkup.is_done
    assert checkup.anatomy == whole
    assert not any(site.check.status in ("unchecked", "refused") for site in list_sites(whole).values())


def test_a_check_costs_few_forwards(root: Path) -> None:
    """Every block runs with eager attention, once under hooks, and once alone; no part is run for each candidate."""
    loaded = load(root, "llama")
    structure = loaded.structure
    with counting_runs(loaded.model) as runs:
        build_anatomy(loaded)
    for block in structure.blocks:
        assert runs[f"{structure.name_of(block)}.mlp.down_proj"] == 3
    assert runs["lm_head"] == 3


def test_a_site_is_checked_before_it_is_read(root: Path) -> None:
    loaded = load(root, "llama")
    loaded.checkup = Checkup(loaded)
    store = RunStore(10**8)
    trace = store.create(loaded, [3, 4, 5], 3)
    list(decode(loaded, GenerationRequest([3, 4, 5], Sampling(), max_new_tokens=0), watcher=trace.watcher))
    assert trace.sites["q.1"].check.status == "unchecked"
    trace.read("q.1")
    assert trace.sites["q.1"].check.status != "unchecked"
    assert trace.sites["q.0"].check.status == "unchecked"
    assert explain(trace, "mlp_out.0", [1, 2]).difference is not None
    assert trace.sites["mlp_out.0"].check.status != "unchecked"
    assert trace.sites["lm_head"].check.status == "unchecked"
    trace.read("lm_head")
    assert trace.sites["lm_head"].check.status != "unchecked"
    assert loaded.anatomy is not None
    assert loaded.anatomy.checked == 3


def test_what_its_check_refuses_is_never_read(root: Path) -> None:
    loaded = load(root, "llama")
    norm = loaded.structure.blocks[1].get_submodule("post_attention_layernorm")
    norm.register_forward_pre_hook(lambda module, args: (args[0] * 1.01,))
    loaded.checkup = Checkup(loaded)
    trace = RunStore(10**8).create(loaded, [3, 4, 5], 3)
    assert trace.sites["resid_mid.1"].check.status == "unchecked"
    with pytest.raises(UnknownAddress, match="refused: its equation differs"):
        trace.read("resid_mid.1")


def test_the_rest_is_checked_behind_who_uses_the_model(registry: Registry) -> None:
    loaded = registry.load("llama").result(60)
    anatomy = wait_checked(loaded)
    assert loaded.model.config._attn_implementation == NAME
    assert loaded.knows_packing
    assert loaded.packing_fault is None
    assert "unchecked" not in {site.check.status for site in list_sites(anatomy).values()}
    registry.close()


def test_checks_wait_while_the_model_is_used(registry: Registry) -> None:
    loaded = registry.load("llama").result(60)
    with loaded.lock:
        begun = 0 if loaded.anatomy is None else loaded.anatomy.checked
        used_at_secs = time.monotonic()
    looks, until_secs = 0, used_at_secs + 4 * QUIET_SECS
    while used_at_secs < until_secs:
        time.sleep(QUIET_SECS / 20)
        with loaded.lock:  # a step
            found = loaded.anatomy
            paused_secs, used_at_secs = time.monotonic() - used_at_secs, time.monotonic()
            if paused_secs >= QUIET_SECS:
                break
            looks += 1
            assert (0 if found is None else found.checked) == begun
    wait_checked(loaded)
    registry.close()
    if not looks:
        pytest.skip("this machine is so busy that every pause leaves room for a check")


def test_weights_that_are_asked_for_first_are_all_there(root: Path) -> None:
    loaded = load(root, "llama")
    loaded.checkup = Checkup(loaded)
    listed = json.loads(weight_zarr_get(loaded, "zarr.json").body)["consolidated_metadata"]["metadata"]
    assert {name for name, _ in loaded.model.named_parameters()} <= set(listed)


def test_a_part_whose_equations_cannot_be_written_down_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkup = Checkup(load(root, "llama"))
    checkup.survey()
    with monkeypatch.context() as patch:
        patch.delattr("glassformer.anatomy.outline.write_latex")
        checkup.check(0)
    while checkup.check_next():
        pass
    checks = {address: site.check for address, site in list_sites(checkup.anatomy).items()}
    assert checkup.anatomy.checked == checkup.anatomy.parts
    assert checks["mlp_out.0"].status == "refused" != checks["mlp_out.1"].status
    assert "NameError" in (checks["mlp_out.0"].reason or "")


def test_who_listens_may_stop_twice(root: Path) -> None:
    checkup = Checkup(load(root, "llama"))
    told: list[None] = []
    stop = checkup.listen(lambda: told.append(None))
    checkup.check(0)
    stop()
    stop()
    checkup.check(1)
    assert len(told) == 1


def test_unloading_ends_the_checks_and_frees_the_memory(registry: Registry) -> None:
    for pause_secs in (0.0, QUIET_SECS, QUIET_SECS + 0.05):
        weights = weakref.ref(registry.load("tales").result(60).model)
        for thread in threading.enumerate():
            if thread.name == "load tales":  # it has handed the model over and still holds it
                thread.join()
        time.sleep(pause_secs)
        registry.unload("tales")
        assert weights() is None
        assert not [thread for thread in threading.enumerate() if thread.name == "after loading tales"]


def test_a_model_that_cannot_be_looked_into_writes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load(root, "gpt2")
    loaded.checkup = Checkup(loaded)

    def fail(*_: object) -> None:
        if threading.current_thread().name.startswith("after loading"):
            raise RuntimeError("no")

    handle = loaded.model.register_forward_pre_hook(fail)
    Aftercare(loaded, None).wait(60)
    handle.remove()
    assert loaded.checkup.is_done
    request = GenerationRequest([3, 4, 5], Sampling(temperature=0), max_new_tokens=2)
    assert len(list(decode(loaded, request))) == 2
    assert loaded.read_anatomy() is None
    assert "looking into gpt2 failed" in caplog.text


def test_a_first_text_does_not_wait_for_what_others_need(root: Path) -> None:
    """Alone and short, it is written as `generate()` does; a second asks whether they can share forwards."""
    loaded = load(root, "llama")
    loaded.checkup = Checkup(loaded)
    engine = Engine(loaded, max_running=4, max_waiting=4)
    with counting_runs(loaded.model) as runs:
        texts = write(engine, [[3, 4, 5]])
    assert runs["lm_head"] == 4
    assert not loaded.knows_packing
    assert loaded.anatomy is None
    again = write(engine, [[3, 4, 5], [6, 7]])
    assert loaded.knows_packing
    assert again[0] == texts[0]
    engine.close()


def write(engine: Engine, prompts: list[list[int]]) -> list[list[int]]:
    """Four tokens after each prompt, all asked for before the first is begun."""
    written: list[list[int]] = [[] for _ in prompts]
    ended = [threading.Event() for _ in prompts]

    def submit(number: int) -> None:
        request = GenerationRequest(prompts[number], Sampling(temperature=0), max_new_tokens=4)
        engine.submit(
            Session(
                TokenSequence(engine.loaded, request),
                on_begin=lambda: None,
                on_step=lambda token: written[number].append(token.token_id),
                on_end=lambda error: ended[number].set(),
            )
        )

    with engine.loaded.lock:
        for number in range(len(prompts)):
            submit(number)
    assert all(event.wait(60) for event in ended)
    return written


def test_who_holds_the_model_may_ask_how_it_writes(root: Path) -> None:
    loaded = load(root, "llama")
    found: list[str | None] = []
    other = threading.Thread(target=lambda: found.append(loaded.packing_fault), daemon=True)
    with loaded.lock:
        other.start()
        time.sleep(0.1)  # the other has begun to ask, and waits
        fault = loaded.packing_fault
    other.join(60)
    assert found == [fault]


def test_nothing_is_written_through_a_tap_that_nobody_has_compared(root: Path) -> None:
    """Texts may come between the two forwards of a survey, and between those and one that had no memory."""
    loaded = load(root, "llama")
    before = loaded.model.config._attn_implementation
    checkup = Checkup(loaded)
    checkup.prepare()
    assert loaded.model.config._attn_implementation == before != NAME
    assert checkup.survey() is not None
    assert loaded.model.config._attn_implementation == NAME


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_model_that_there_was_no_memory_to_look_into_is_looked_into_later(
    root: Path, error: Exception
) -> None:
    loaded = load(root, "llama")
    before = loaded.model.config._attn_implementation
    loaded.checkup = Checkup(loaded)

    def run_out(*_: object) -> None:
        raise error

    handle = loaded.model.register_forward_pre_hook(run_out)
    Aftercare(loaded, None).wait(60)
    assert loaded.read_anatomy() is None
    assert loaded.model.config._attn_implementation == before
    handle.remove()
    anatomy = loaded.read_anatomy()
    assert anatomy is not None
    assert anatomy.refused is None
    assert loaded.packing_fault is None
    while loaded.checkup.check_next():
        pass
    assert {site.check.status for site in list_sites(loaded.checkup.anatomy).values()} <= {"exact", "close"}


def test_a_block_that_there_was_no_memory_to_check_is_checked_later(root: Path) -> None:
    loaded = load(root, "llama")
    checkup = loaded.checkup = Checkup(loaded)
    assert checkup.survey() is not None

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    handle = loaded.structure.blocks[1].register_forward_pre_hook(run_out)
    with pytest.raises(NoRoom, match="no memory now to check block 1 of the model"):
        loaded.check_site("q.1")
    # Others are checked all the same.
    loaded.check_site("q.0")
    assert checkup.order == [0]
    handle.remove()
    while checkup.check_next():
        pass
    assert checkup.order == [0, *range(1, len(loaded.structure.blocks) + 1)]
    assert {site.check.status for site in list_sites(checkup.anatomy).values()} <= {"exact", "close"}


def test_a_model_that_is_loaded_after_the_end_is_not_looked_after(root: Path) -> None:
    registry = Registry(Catalog([root], offline=True), device="cpu", checks_later=True)
    with BUILDING:  # nothing is read meanwhile
        future = registry.load("llama")
        registry.close()
    assert future.result(60).anatomy is None
    assert not any(thread.name == "after loading llama" for thread in threading.enumerate())
