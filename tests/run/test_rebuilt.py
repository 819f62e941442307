"""Recordings whose memory was given up: they come back to the bit where they can, and say so where they do not."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import build, make_prompt
from tiny import make_tokenizer

from glassformer.budget import Budget
from glassformer.compute.linear import Shortcut, put_in
from glassformer.engine.decoding import decode
from glassformer.engine.engine import Engine, Session
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.errors import BadValue, NoRoom, UnknownTrace
from glassformer.explain.explain import explain
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Intervention, Sampling, TraceRequest
from glassformer.registry.prepare import look_into
from glassformer.run.admission import estimate_run
from glassformer.run.record import open_run, record
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state
from glassformer.run.run_store import RunStore

GREEDY = Sampling(temperature=0)
PLENTY = 2**30


def load(family: str, dtype: torch.dtype, **config: Any) -> LoadedModel:
    model = build(family, **config).to(dtype)
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    loaded.eos_ids = frozenset()
    look_into(loaded)
    assert loaded.anatomy is not None
    return loaded


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return load("llama", torch.bfloat16)


def write(store: RunStore, loaded: LoadedModel, length: int, count: int, **more: Any) -> Run:
    body = TraceRequest(
        model_id=loaded.model_id,
        token_ids=make_prompt(length).tolist(),
        max_new_tokens=count,
        sampling=GREEDY,
        **more,
    )
    return record(open_run(store, loaded, body))


def read_all(run: Run) -> dict[str, np.ndarray[Any, Any]]:
    """Every cell of every site."""
    return {
        address: run.read(address, copies=True)
        for address, site in run.sites.items()
        if site.check.status != "refused"
    }


def whole_forward(loaded: LoadedModel, run: Run) -> list[Tensor]:
    """The hidden states of one whole forward of plain transformers."""
    ids = torch.tensor([run.token_ids[: run.positions]])
    with torch.inference_mode():
        out = loaded.model(ids, output_hidden_states=True, use_cache=False)
    return [hidden[0].float() for hidden in out.hidden_states[:-1]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "jamba"])
def test_every_cell_comes_back_to_the_bit(family: str, dtype: torch.dtype) -> None:
    """Also where sequences take turns through the model's own cache, as Bloom's and Jamba's do."""
    loaded = load(family, dtype)
    run = write(RunStore(PLENTY), loaded, 40, 30)
    before, state = read_all(run), describe_state(run)
    assert run.give_up()
    assert not run.recording.is_held
    run._keeper.drop_blocks(run.id)
    after = read_all(run)
    assert before.keys() == after.keys()
    for address, cells in before.items():
        np.testing.assert_array_equal(cells, after[address], err_msg=address)
    assert describe_state(run) == state.model_copy(update={"bytes": run.nbytes})
    assert run.require_site("resid_pre.1").provenance == "recorded"


def test_one_whole_forward_would_give_others(llama: LoadedModel) -> None:
    """Else the test above would tell nothing."""
    run = write(RunStore(PLENTY), llama, 40, 30)
    changed = [
        bool((run.recording.residual(block) != hidden).any())
        for block, hidden in enumerate(whole_forward(llama, run))
    ]
    assert any(changed)


def test_an_intervened_run_comes_back_with_its_changes(llama: LoadedModel) -> None:
    change = Intervention(address="mlp_out.1", operation="scale", value=-2.0, index={"pos": {"start": 8}})
    run = write(RunStore(PLENTY), llama, 12, 6, interventions=[change])
    before = read_all(run)
    assert run.give_up()
    for address, cells in read_all(run).items():
        np.testing.assert_array_equal(cells, before[address])
    plain = write(RunStore(PLENTY), llama, 12, 6)
    assert not np.array_equal(plain.read("resid_post.1")[8:12], before["resid_post.1"][8:12])


def test_rows_from_before_a_model_was_quickened_come_back_as_they_were() -> None:
    """Its quick products round otherwise: here they sum halves of the features, from the middle of the run on."""
    loaded = load("llama", torch.bfloat16)

    def in_halves(weight: Tensor) -> Callable[[Tensor], Tensor]:
        half = weight.shape[1] // 2
        return lambda given: given[:, :half] @ weight[:, :half].T + given[:, half:] @ weight[:, half:].T

    def quicken() -> None:
        linears = [one for one in loaded.model.modules() if isinstance(one, torch.nn.Linear)]
        weights = [linear.weight.detach() for linear in linears]
        put_in(
            loaded.model,
            [
                (linear, Shortcut(weight, linear.bias, [in_halves(weight)] * 2))
                for linear, weight in zip(linears, weights, strict=True)
            ],
        )

    store = RunStore(PLENTY)
    body = TraceRequest(
        model_id="llama", token_ids=make_prompt(20).tolist(), max_new_tokens=12, sampling=GREEDY
    )
    run = open_run(store, loaded, body)
    assert run.request is not None
    for token in decode(loaded, run.request, watcher=run.watcher):
        run.take(token)
        if len(run.steps) == 6:
            quicken()
    run.release()
    run.end()
    assert {piece.is_quick for piece in run.recording.path} == {False, True}
    before = [run.recording.residual(block).clone() for block in range(len(loaded.structure.blocks) + 1)]
    assert run.give_up()
    run.read("resid_pre.1")
    for block, rows in enumerate(before):
        assert torch.equal(run.recording.residual(block), rows)
    # They do round otherwise.
    later = write(store, loaded, 20, 12)
    assert not torch.equal(later.recording.residual(2, 20), before[2][:20])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_made_in_company_come_back_to_the_bit(dtype: torch.dtype) -> None:
    """Six at once, of which five attend together in the end, one of them looked at; prompts are read beside them."""
    loaded = load("llama", dtype)
    engine = Engine(loaded, max_running=8, max_waiting=8)
    store = RunStore(PLENTY)
    runs: list[Run] = []
    ended: list[threading.Event] = []
    begin = threading.Event()
    for which in range(6):
        body = TraceRequest(
            model_id="llama",
            token_ids=make_prompt(12 + 3 * which).tolist(),
            max_new_tokens=24,
            sampling=GREEDY,
            interventions=[Intervention(address="mlp_out.1", operation="zero")] if which == 3 else [],
        )
        run = open_run(store, loaded, body)
        assert run.request is not None
        sequence = TokenSequence(loaded, run.request, watcher=run.watcher)
        runs.append(run)
        ended.append(threading.Event())
        # The first lets no step begin before all of them are there.
        wait = begin.wait if which == 0 else lambda: None
        session = Session(
            sequence,
            run.take,
            lambda _, over=ended[-1]: over.set(),
            on_begin=lambda wait=wait: (wait(), None)[1],
        )
        engine.submit(session)
    runs[1].subscribe(["attn_probs.0", "q.1"], lambda frame: None)
    begin.set()
    assert all(over.wait(60) for over in ended)
    engine.close()
    pieces = [piece for run in runs for piece in run.recording.path]
    assert any(piece.together >= 4 for piece in pieces)
    assert any(piece.before for piece in pieces)
    assert any(piece.after for piece in pieces)
    assert any(piece.is_watched for piece in pieces)
    for run in runs:
        run.release()
        run.end()
        before = [run.recording.residual(block).clone() for block in range(len(loaded.structure.blocks) + 1)]
        assert run.give_up()
        run.read("resid_pre.1")
        for block, rows in enumerate(before):
            assert torch.equal(run.recording.residual(block), rows)
        assert describe_state(run).rebuilt_difference is None


def test_rows_that_come_back_otherwise_say_so(llama: LoadedModel) -> None:
    """As of a mixture of experts in company; here a weight is nudged."""
    run = write(RunStore(PLENTY), llama, 20, 6)
    before = {
        block: run.recording.residual(block).clone() for block in range(len(llama.structure.blocks) + 1)
    }
    etag = run.zarr_get("resid_pre.2/0/c/0/0").etag
    weight = llama.structure.parameter("model.layers.0.mlp.down_proj.weight")
    kept = weight.clone()
    try:
        with torch.no_grad():
            weight[:, 0] += 0.25
        assert run.give_up()
        run.read("resid_pre.2")
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    state = describe_state(run)
    real = max(float((run.recording.residual(block) - rows).abs().max()) for block, rows in before.items())
    assert state.rebuilt_difference is not None
    assert 0 < state.rebuilt_difference <= real
    assert state.rewritten == 1
    assert run.require_site("resid_pre.2").provenance == "rebuilt"
    explained = explain(run, "resid_pre.2", [0, 0])
    assert (explained.provenance, explained.rebuilt_difference) == ("rebuilt", state.rebuilt_difference)
    assert explain(run, "attn_in.2", [0, 0]).rebuilt_difference is None
    assert run.zarr_get("resid_pre.2/0/c/0/0").etag != etag
    assert b'"provenance":"rebuilt"' in run.zarr_get("resid_pre.2/zarr.json").body


def test_who_began_with_rows_that_are_others_now_no_longer_says_so(llama: LoadedModel) -> None:
    engine = Engine(llama, max_running=2, max_waiting=2, prefix_bytes=2**24)
    store = RunStore(PLENTY)

    def run_in_engine(ids: list[int]) -> Run:
        body = TraceRequest(model_id="llama", token_ids=ids, max_new_tokens=4, sampling=GREEDY)
        run = open_run(store, llama, body)
        ended = threading.Event()
        assert run.request is not None
        sequence = TokenSequence(llama, run.request, watcher=run.watcher)
        engine.submit(Session(sequence, run.take, lambda error: ended.set()))
        assert ended.wait(30)
        run.release()
        run.end()
        return run

    first = run_in_engine(make_prompt(20).tolist())
    second = run_in_engine([*first.token_ids, 7])
    engine.close()
    assert [one[0] for one in second.recording.ancestors] == [first.id]
    before = read_all(second)
    # Copied rows come back along the path on which they were made.
    assert second.give_up()
    for address, cells in read_all(second).items():
        np.testing.assert_array_equal(cells, before[address])
    assert [one[0] for one in second.recording.ancestors] == [first.id]
    store.note_change(first.id)
    assert second.recording.ancestors == ()


# --- memory ------------------------------------------------------------------------------------------


def test_what_cannot_fit_is_refused_in_numbers_before_it_starts(llama: LoadedModel) -> None:
    resting = write(store := RunStore(estimate_run(llama, 100)), llama, 20, 5)
    with pytest.raises(
        BadValue, match=r"up to 120 positions takes up to \d+ kB, more than the \d+ kB"
    ) as caught:
        write(store, llama, 20, 100)
    assert caught.value.field == "max_new_tokens"
    with pytest.raises(BadValue, match="shorter prompt") as caught:
        write(store, llama, 110, 5)
    assert caught.value.field == "token_ids"
    # A request that is refused costs nobody anything.
    assert resting.recording.is_held
    assert store.list() == [resting]


def test_a_run_waits_for_those_under_way(llama: LoadedModel) -> None:
    store = RunStore(estimate_run(llama, 100))
    body = TraceRequest(model_id="llama", token_ids=make_prompt(60).tolist(), sampling=GREEDY)
    first = open_run(store, llama, body)
    with pytest.raises(NoRoom, match=r"runs under way hold \d+ kB of the \d+ kB") as caught:
        open_run(store, llama, body)
    assert caught.value.retry_after_secs > 0
    record(first)
    second = record(open_run(store, llama, body))
    assert second.positions == first.positions == 60


def test_running_and_resting_runs_and_prefixes_share_one_budget(llama: LoadedModel) -> None:
    budget = Budget(estimate_run(llama, 150))
    store = RunStore(budget)
    engine = Engine(llama, max_running=2, max_waiting=2, prefix_bytes=budget.limit_bytes, budget=budget)
    ended = threading.Event()
    request = GenerationRequest(make_prompt(100).tolist(), GREEDY, max_new_tokens=2)
    engine.submit(Session(TokenSequence(llama, request), lambda _: None, lambda _: ended.set()))
    assert ended.wait(30)
    for _ in range(200):
        if engine._prefixes.nbytes:
            break
        threading.Event().wait(0.01)
    assert engine._prefixes.nbytes > 0
    for _ in range(4):
        run = write(store, llama, 100, 20)
        assert budget.held_bytes <= budget.limit_bytes
    assert engine._prefixes.nbytes == 0
    assert run.recording.is_held
    assert sum(held.recording.is_held for held in store.list()) < 4
    engine.close()


def test_a_run_that_is_looked_at_gives_its_rows_up_last(llama: LoadedModel) -> None:
    store = RunStore(PLENTY)
    followed, idle = write(store, llama, 60, 5), write(store, llama, 60, 5)
    with followed.followed():
        store.get(idle.id)
        assert store.budget.make_room(PLENTY - followed.nbytes - idle.nbytes // 2) >= 0
        assert (followed.recording.is_held, idle.recording.is_held) == (True, False)


def test_two_long_recordings_read_in_turn_are_always_right(llama: LoadedModel) -> None:
    store = RunStore(estimate_run(llama, 200))
    runs = [write(store, llama, 100 + which, 10) for which in range(2)]
    expected = [read_all(run) for run in runs]
    for turn in range(4):
        run = store.get(runs[turn % 2].id)
        for address, cells in expected[turn % 2].items():
            np.testing.assert_array_equal(run.read(address), cells, err_msg=address)
    assert all(describe_state(run).rebuilt_difference is None for run in runs)


def test_a_recording_that_is_deleted_while_it_is_made_again_stops_that(llama: LoadedModel) -> None:
    store = RunStore(PLENTY)
    run = write(store, llama, 20, 40)
    assert run.give_up()
    forwards: list[int] = []

    def count(*_: Any) -> None:
        forwards.append(1)
        if len(forwards) == 5:
            store.delete(run.id)

    handle = llama.structure.blocks[0].register_forward_pre_hook(count)
    try:
        with pytest.raises(UnknownTrace):
            run.read("resid_pre.1")
    finally:
        handle.remove()
    assert len(forwards) == 5
    with pytest.raises(UnknownTrace), run.looking():
        pass


def test_others_come_between_the_pieces_of_a_rebuild(llama: LoadedModel) -> None:
    """Whoever waits for the model waits for one forward of it, not for all."""
    run = write(RunStore(PLENTY), llama, 20, 40)
    assert run.give_up()
    forwards: list[int] = []
    begun, between = threading.Event(), []

    def count(*_: Any) -> None:
        forwards.append(1)
        begun.set()
        # Until the other one waits for the lock, so that the order does not hang on who is quick.
        while len(forwards) == 3 and not llama.lock._waiting:
            threading.Event().wait(0.001)

    def step() -> None:
        begun.wait()
        while len(forwards) < 3:
            threading.Event().wait(0.001)
        with llama.lock:
            between.append(len(forwards))

    thread = threading.Thread(target=step)
    handle = llama.structure.blocks[0].register_forward_pre_hook(count)
    try:
        thread.start()
        run.read("resid_pre.1")
        thread.join()
    finally:
        handle.remove()
    assert between == [3]
    assert len(forwards) > 40
