"""Everybody at one model at once: no cell that is read, explained, sent or written differs from what it is alone."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tracing import Case

from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.errors import UnknownTrace
from glassformer.explain.explain import explain
from glassformer.protocol.frames import decode_frame
from glassformer.protocol.messages import Intervention, Sampling, TraceRequest
from glassformer.run.record import open_run, record
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

# Of each of the two models, by two threads.
READS = 1_000
# Small enough that blocks are forgotten and made again all the time.
BUDGET_BYTES = 2**19
WRITTEN = 6
LIVE_POINTS = ("resid_pre", "q", "attn_probs", "z", "mlp_out", "resid_post")
CHANGE = Intervention(address="mlp_out.0", operation="zero")


@dataclass
class Alone:
    """What a model gives while nobody else asks."""

    run: Run
    cells: dict[str, np.ndarray[Any, Any]]
    values: dict[tuple[str, tuple[int, ...]], float]
    frames: list[dict[str, np.ndarray[Any, Any]]]
    written: list[int]
    grown: dict[str, np.ndarray[Any, Any]]
    changed: np.ndarray[Any, Any]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in another order are not what is looked for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def changing_places() -> Iterator[None]:
    """Let threads change places in the middle of whatever they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def ask(case: Case, count: int, **fields: Any) -> TraceRequest:
    """A request to record the first `count` tokens."""
    sampling = Sampling(temperature=0)
    ids = case.token_ids[:count]
    return TraceRequest(model_id=case.loaded.model_id, token_ids=ids, sampling=sampling, **fields)


def write(
    case: Case, store: RunStore, show: Callable[[Run], None] = lambda run: None
) -> tuple[list[dict[str, np.ndarray[Any, Any]]], Run]:
    """A text that is written while somebody watches: the frames and the run, which `show` is given before it begins."""
    run = open_run(store, case.loaded, ask(case, 9, max_new_tokens=WRITTEN))
    frames: list[dict[str, np.ndarray[Any, Any]]] = []
    addresses = [f"{point}.{block}" for point in LIVE_POINTS for block in (0, 1)]
    run.subscribe(addresses, lambda frame: frames.append(decode_frame(frame)[1]))
    show(run)
    record(run)
    return frames, run


def change(case: Case, store: RunStore) -> np.ndarray[Any, Any]:
    """A site of a run that is interfered with."""
    run = record(open_run(store, case.loaded, ask(case, 12, interventions=[CHANGE])))
    found = run.read("mlp_in.1", copies=True)
    store.delete(run.id)
    return found


def list_served(run: Run) -> list[str]:
    """What can be read: a mixture has no site for what only dense blocks have."""
    return [address for address, site in run.sites.items() if site.check.status != "refused"]


def recompute(run: Run, place: tuple[str, tuple[int, ...]]) -> float:
    """What an explanation computes for a cell; minus infinity for a masked one."""
    found = explain(run, place[0], list(place[1])).recomputed
    return -np.inf if found is None else found


def compute_alone(case: Case, store: RunStore) -> Alone:
    run, chance = case.trace(store), random.Random(0)
    cells = {address: run.read(address, copies=True) for address in list_served(run)}
    places = [
        (address, tuple(chance.randrange(size) for size in cells[address].shape))
        for address in cells
        for _ in range(3)
    ]
    values = {place: recompute(run, place) for place in places}
    frames, written = write(case, store)
    grown = {address: written.read(address, copies=True) for address in cells}
    return Alone(run, cells, values, frames, written.token_ids, grown, change(case, store))


def check(found: Any, expected: Any, what: str) -> None:
    """The same numbers; rounding is allowed for what is made again in another company, a hole or a mixture is not."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=False, err_msg=what)


def read_at_random(case: Case, store: RunStore, alone: Alone, chance: random.Random, count: int) -> None:
    """Regions of sites of the shared run, whose memory may be taken meanwhile, and of runs that have just been made."""
    addresses = [*alone.cells]
    for turn in range(count):
        run = alone.run if turn % 10 else case.trace(store)
        if turn % 25 == 0:
            alone.run.give_up()
        address = chance.choice(addresses)
        expected = alone.cells[address]
        region = tuple(
            slice(first, chance.randrange(first, size) + 1)
            for size in expected.shape
            for first in [chance.randrange(size)]
        )
        check(run.read(address, region, copies=True), expected[region], address)
        if run is not alone.run:
            store.delete(run.id)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("family", ["mixture", "llama"])
def test_a_crowd_of_threads_sees_what_each_would_see_alone(
    family: str, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(family)
    store = RunStore(BUDGET_BYTES)
    alone = compute_alone(case, store)
    failures: list[BaseException] = []
    done: Counter[str] = Counter()
    stopped = threading.Event()
    growing: list[Run] = []

    def explain_again(chance: random.Random) -> None:
        place = chance.choice([*alone.values])
        check(recompute(alone.run, place), alone.values[place], f"explanation of {place}")

    def write_again(_: random.Random) -> None:
        frames, run = write(case, store, growing.append)
        store.delete(run.id)
        assert run.token_ids == alone.written
        assert len(frames) == len(alone.frames)
        for frame, expected in zip(frames, alone.frames, strict=True):
            assert frame.keys() == expected.keys()
            for address, rows in frame.items():
                check(rows, expected[address], f"live {address}")

    def read_growing(chance: random.Random) -> None:
        """Of a text that is being written, what is there so far."""
        run = growing[-1] if growing else None
        if run is None or not run.positions:
            return
        address = chance.choice([*alone.grown])
        try:
            found, expected = run.read(address, copies=True), alone.grown[address]
        except UnknownTrace:
            return  # deleted meanwhile
        check(found, expected[tuple(slice(size) for size in found.shape)], f"growing {address}")

    def generate_again(_: random.Random) -> None:
        prompt = case.token_ids[:9]
        asked = GenerationRequest(prompt, Sampling(temperature=0), max_new_tokens=WRITTEN)
        assert prompt + [token.token_id for token in decode(case.loaded, asked)] == alone.written

    def change_again(_: random.Random) -> None:
        check(change(case, store), alone.changed, "a run that is interfered with")

    def repeat(work: Callable[[random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not stopped.is_set():
                work(chance)
                done[work.__name__] += 1
        except BaseException as exc:
            failures.append(exc)

    def read(seed: int) -> None:
        try:
            read_at_random(case, store, alone, random.Random(seed), READS // 2)
        except BaseException as exc:
            failures.append(exc)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in (1, 2)]
    works = (explain_again, write_again, read_growing, generate_again, change_again)
    others = [threading.Thread(target=repeat, args=(work, seed)) for seed, work in enumerate(works)]
    with changing_places():
        for thread in [*readers, *others]:
            thread.start()
        for thread in readers:
            thread.join(120)
        stopped.set()
        for thread in others:
            thread.join(60)
    assert not any(thread.is_alive() for thread in [*readers, *others])
    if failures:
        raise failures[0]
    assert min(done[work.__name__] for work in works) > 2
