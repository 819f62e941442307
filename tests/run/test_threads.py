"""Several threads at one model: each hears, keeps and changes what it computes itself, and they take turns."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tracing import Case

import glassformer
from glassformer.anatomy.checkup import build_anatomy
from glassformer.capture.capture import Capture, locate
from glassformer.capture.rerun import rerun_block
from glassformer.compute.computing import CREW
from glassformer.compute.lock import ModelLock
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import ModelFailed
from glassformer.explain.explain import explain
from glassformer.explain.lens import read_lens_table
from glassformer.protocol.messages import Intervention, Sampling
from glassformer.run.fidelity import measure_attention
from glassformer.run.intervention import applied
from glassformer.run.materialise import BlockSites, check_whole
from glassformer.run.run_store import RunStore
from glassformer.structure.role import Hook
from glassformer.structure.structure import Structure

# Of a block with experts: those a hook reads at a module's input, its output, or out of what experts are handed.
READ_POINTS = (
    "resid_pre",
    "attn_in",
    "attn_out",
    "z",
    "mlp_in",
    "router_logits",
    "expert_weights",
    "mlp_out",
)


def run_aside(call: Callable[[], Any]) -> Any:
    """What `call` gives in another thread, or raises there."""
    given: list[Any] = []

    def work() -> None:
        try:
            given.append(call())
        except BaseException as exc:
            given.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    if isinstance(given[0], BaseException):
        raise given[0]
    return given[0]


@contextmanager
def without_lock(structure: Structure) -> Iterator[None]:
    """As if somebody had forgotten it: what hooks hear must not hang on the lock."""
    kept = structure.lock
    structure.lock = ModelLock()
    try:
        yield
    finally:
        structure.lock = kept


def test_a_capture_keeps_what_its_own_thread_computed(mixture: Case) -> None:
    structure, ids = mixture.loaded.structure, torch.tensor(mixture.token_ids)
    capture = Capture(
        structure, [*(f"{point}.1" for point in READ_POINTS), "q.1", "final_norm", "embeddings"]
    )
    with torch.inference_mode(), capture.open():
        structure.run(ids)
        own = {address: value.clone() for address, value in capture.values.items()}
        tables = capture.rotary[1]
        with without_lock(structure):
            run_aside(lambda: structure.model(input_ids=ids[None, :3], use_cache=False))
    assert set(own) == set(capture.addresses)
    for address, value in own.items():
        assert torch.equal(capture.values[address], value), address
    assert capture.rotary[1] is tables


@pytest.mark.parametrize("point", ["resid_pre", "z", "mlp_out", "resid_post"])
def test_an_intervention_changes_its_own_thread_alone(mixture: Case, point: str) -> None:
    loaded, ids = mixture.loaded, torch.tensor(mixture.token_ids)[None]
    given = Intervention(address=f"{point}.1", operation="zero")

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return loaded.model(input_ids=ids, use_cache=False).logits[0]

    plain = run()
    with applied(loaded.structure, [given], 0, ids.shape[1]):
        changed, elsewhere = run(), run_aside(run)
    assert not torch.allclose(changed, plain)
    assert torch.equal(elsewhere, plain)


def test_a_block_that_runs_alone_stops_no_other_thread(mixture: Case) -> None:
    """While one thread runs block 1 alone, over passed blocks and from a fed residual, another runs the whole model."""
    structure, ids = mixture.loaded.structure, torch.tensor(mixture.token_ids)
    logits: list[torch.Tensor] = []

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return structure.model(input_ids=ids[None], use_cache=False).logits[0]

    place = locate(structure, "mlp_out", 1)
    assert isinstance(place, Hook)
    plain, me = run(), threading.get_ident()

    def meet(*_: Any) -> None:
        if threading.get_ident() == me:
            logits.append(run_aside(run))

    handle = place.module.register_forward_hook(meet)
    try:
        rerun_block(structure, 1, ids, torch.ones(len(ids), 32), Capture(structure, ["resid_post.1"]))
    finally:
        handle.remove()
    assert torch.equal(logits[0], plain)


def test_only_one_place_registers_hooks() -> None:
    """A hook that is registered elsewhere would hear every thread again."""
    package = Path(glassformer.__file__).parent
    found = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"register_(full_)?(forward|backward|module)_?\w*hook", path.read_text(encoding="utf-8"))
    ]
    assert found == ["compute/hooking.py"]


@pytest.mark.parametrize("family", ["mixture", "llama"])
def test_modules_run_only_under_the_models_lock_and_on_its_threads(
    family: str, request: pytest.FixtureRequest, store: RunStore
) -> None:
    case: Case = request.getfixturevalue(family)
    trace, lock = case.trace(store), case.loaded.lock
    run: set[str] = set()
    bare: set[str] = set()

    def note(name: str) -> Callable[..., None]:
        def before(*_: Any) -> None:
            run.add(name)
            if not lock.is_owned() or not CREW.is_computing:
                bare.add(name)

        return before

    handles = [
        module.register_forward_pre_hook(note(name)) for name, module in case.loaded.model.named_modules()
    ]
    try:
        for address, site in trace.sites.items():
            explain(trace, address, [0] * len(site.axes))
        read_lens_table(trace, top=1)
        trace.recording.clear()
        trace.read("lm_head")
        request = GenerationRequest(case.token_ids[:5], Sampling(temperature=0), max_new_tokens=2)
        list(decode(case.loaded, request))
        measure_attention(case.loaded)
        build_anatomy(case.loaded)
    finally:
        for handle in handles:
            handle.remove()
    assert run >= {name for name, _ in case.loaded.model.named_modules() if name.endswith((".mlp", "act_fn"))}
    assert not bare


def test_half_a_site_is_not_kept() -> None:
    sites = BlockSites(4, {"expert_weights.0": torch.zeros(1, 4)}, None, None, 0.0)
    with pytest.raises(ModelFailed, match=r"expert_weights\.0 came out with the shape \(1, 4\)"):
        check_whole(sites, {"expert_weights.0": (4, 4)})
    with pytest.raises(ModelFailed, match="attn_probs"):
        check_whole(sites, {"attn_probs.0": (2, 4, 4)})
