"""Threads of real computing: how many there are inside, and that nobody outside notices."""

import threading
from pathlib import Path

import pytest
import torch
from tiny import make_model

from glassformer.compute import computing as module
from glassformer.compute import lock
from glassformer.compute.computing import Crew, IdleCores, read_idle_secs
from glassformer.compute.thread_count import Step, ThreadCount
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.files.catalog import Catalog
from glassformer.loading.load import load_model
from glassformer.protocol.messages import Sampling
from glassformer.registry.prepare import look_into
from glassformer.run.run_store import RunStore


@pytest.fixture(autouse=True)
def threads():
    """Four threads for whoever computes in a test, cores or not."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_threads_are_set_inside_and_set_back_whatever_happens() -> None:
    crew = Crew()
    crew._counts[4] = ThreadCount(4)
    crew._counts[4].count = 3
    crew._idle.read = lambda: None
    with crew.computing(1):
        assert torch.get_num_threads() == 3
        with crew.computing(1, "block"):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError), crew.computing(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4
    assert not crew._computing


def test_a_thread_of_ours_keeps_its_threads_between_pieces_of_computing() -> None:
    """Drawing tokens and copying rows are dozens of small operations, each of which would wait for absent cores."""
    crew = Crew()
    crew._counts[4] = ThreadCount(4)
    crew._counts[4].count = 1
    crew._idle.read = lambda: None
    with crew.working():
        assert torch.get_num_threads() == 1
        with crew.computing(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        crew._counts[4].count = 2
        with crew.computing(1):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError), crew.working():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


def test_a_single_module_says_nothing_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, observed = Crew(), []
    monkeypatch.setattr(ThreadCount, "observe", lambda _, step: observed.append(step))
    crew._idle.read = lambda: None
    with crew.computing(1, "module", is_step=False):
        assert crew.is_computing
        with crew.computing(1):
            assert crew.is_computing
    assert not crew.is_computing
    assert not observed


def test_what_a_user_chose_is_never_exceeded() -> None:
    crew = Crew()
    torch.set_num_threads(2)
    with crew.computing(1):
        assert torch.get_num_threads() <= 2
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    with crew.computing(1):
        assert torch.get_num_threads() == 1
    inside: list[int] = []

    def compute() -> None:
        with crew.computing(1):
            inside.append(torch.get_num_threads())

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert inside == [1]
    torch.set_num_threads(4)


def test_the_setting_leaves_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew()
    crew._counts[4] = ThreadCount(4)
    crew._counts[4].count = 1
    monkeypatch.setenv(module.FIXED, "1")
    with crew.computing(1):
        assert torch.get_num_threads() == 4


def test_two_that_compute_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, seen, observed = Crew(), {}, []
    monkeypatch.setattr(crew._idle, "read", lambda: None)
    first_in, second_out = threading.Event(), threading.Event()
    monkeypatch.setattr(ThreadCount, "observe", lambda _, step: observed.append(step))

    def compute() -> None:
        assert first_in.wait(10)
        with crew.computing(7, "block"):
            seen["second"] = torch.get_num_threads()
        seen["after"] = torch.get_num_threads()
        second_out.set()

    other = threading.Thread(target=compute)
    other.start()
    with crew.computing(1):
        seen["first"] = torch.get_num_threads()
        first_in.set()
        assert second_out.wait(10)
    other.join()
    assert seen == {"first": 4, "second": 2, "after": 4}
    assert [(step.kind, step.rows, step.threads) for step in observed] == [("block", 7, 2), ("forward", 1, 4)]
    assert all(step.cpu_secs >= 0 and step.wall_secs > 0 for step in observed)


def test_a_thread_that_begins_while_somebody_computes_does_not_keep_their_threads() -> None:
    crew = Crew()
    crew._counts[4] = ThreadCount(4)
    crew._counts[4].count = 1
    crew._idle.read = lambda: None
    found: list[int] = []
    computed = threading.Event()

    def live() -> None:
        found.append(torch.get_num_threads())
        assert computed.wait(10)
        with crew.computing(1):
            pass
        found.append(torch.get_num_threads())

    with crew.computing(1):
        thread = threading.Thread(target=live)
        thread.start()
        while not found:
            thread.join(0.01)
    computed.set()
    thread.join()
    assert found == [1, 4]


def test_idle_cores_are_counted_among_those_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = tmp_path / "stat"
    monkeypatch.setattr(module, "CLOCK", clock)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(module.os, "sysconf", lambda _: 100)
    clock.write_text("cpu 9 9 9 900\ncpu0 1 1 1 100 0\ncpu1 1 1 1 500 0\ncpu2 1 1 1 200 0\nintr 5\n")
    assert read_idle_secs() == 3.0
    idle = IdleCores()
    assert idle.read() == 0.0
    clock.write_text("cpu0 1 1 1 150 0\ncpu2 1 1 1 200 0\n")
    assert idle.read() == 0.0  # too soon to say anything else
    assert idle._last is not None
    idle._last = (idle._last[0] - 1.0, idle._last[1])
    assert idle.read() == pytest.approx(0.5, rel=0.2)
    clock.unlink()
    idle._last = (idle._last[0] - 1.0, idle._last[1])
    assert idle.read() is None


@pytest.mark.parametrize("packs", [True, False])
def test_texts_blocks_and_ends_are_computed_with_the_threads_that_are_given(
    packs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing, reading and running again alike, whether generations share forwards or take turns."""
    make_model(tmp_path / "llama", "llama")
    source = Catalog([tmp_path]).find("llama")
    assert source.folder is not None
    loaded = load_model(source, source.folder, device="cpu")
    look_into(loaded)
    loaded._packing = (None if packs else "for this test",)
    crew = Crew()
    crew._counts[4] = ThreadCount(4)
    crew._counts[4].count = 3
    monkeypatch.setattr(crew._idle, "read", lambda: None)
    observed: list[Step] = []
    monkeypatch.setattr(ThreadCount, "observe", lambda _, step: observed.append(step))
    monkeypatch.setattr(lock, "computing", crew.computing)
    seen: list[int] = []
    handle = loaded.structure.blocks[1].register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    prompt = list(range(5, 25))
    trace = RunStore(2**24).create(loaded, prompt, len(prompt))
    request = GenerationRequest(prompt, Sampling(temperature=0), max_new_tokens=3)
    for token in decode(loaded, request, watcher=trace.watcher):
        trace.append_token(token.token_id)
    trace.read("mlp_out.1")
    trace.read_logits(3)
    handle.remove()
    assert set(seen) == {3}
    assert [step.rows for step in observed if step.kind == "forward"] == [20, 1, 1, 1]
    assert {step.kind for step in observed} == {"forward", "block", "end"}
    assert torch.get_num_threads() == 4
