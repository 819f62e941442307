"""The same question asked by several at once: computed once, waited for by the others, and never for ever."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tracing import make_case

from glassformer.protocol.reading import Effects, Reading, Without
from glassformer.reading.decision import Question
from glassformer.reading.effects import read_effects
from glassformer.reading.reading import read
from glassformer.reading.without import read_without
from glassformer.run.recorded import Answer
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

POSITIONS = 9
PATIENCE_SECS = 60.0
QUESTION = Question(token=5, versus="mean")


class WatchedStore(RunStore):
    """Tells who has looked for an answer."""

    def __init__(self) -> None:
        super().__init__(2**30)
        self.told: list[Callable[[Hashable], None]] = []

    def find_answer(self, run_id: str, key: Hashable) -> Answer | None:
        found = super().find_answer(run_id, key)
        for tell in self.told:
            tell(key)
        return found


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def run(store: WatchedStore) -> Run:
    """A recording whose equations have been checked, with no answer at hand."""
    loaded = make_case("llama").loaded
    ids = list(range(5, 5 + POSITIONS))
    run = store.create(loaded, ids, POSITIONS)
    with torch.inference_mode(), run.watcher.watch(slice(0, POSITIONS), 0, POSITIONS):
        loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
    for ask in QUESTIONS.values():
        ask(run)
    store.drop_blocks(run.id)
    return run


QUESTIONS: dict[str, Callable[[Run], Reading | Effects | Without]] = {
    "reading": lambda run: read(run, QUESTION),
    "effects": lambda run: read_effects(run, QUESTION),
    "without": lambda run: read_without(run, ["head.1.2"], QUESTION),
}


@contextmanager
def counting(run: Run, at_first: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """The forwards of the last block's MLP; `at_first` is called in the first of them."""
    ran: list[int] = []

    def count(*_: Any) -> None:
        ran.append(threading.get_ident())
        if len(ran) == 1:
            at_first()

    blocks: Any = run.loaded.structure.blocks
    handle = blocks[-1].mlp.down_proj.register_forward_hook(count)
    try:
        yield ran
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", QUESTIONS)
def test_of_two_that_ask_at_once_one_computes(kind: str, run: Run, store: WatchedStore) -> None:
    ask = QUESTIONS[kind]
    with counting(run) as alone:
        ask(run)
    assert alone
    store.drop_blocks(run.id)
    answers = []
    other = threading.Thread(target=lambda: answers.append(ask(run)))
    has_looked = threading.Event()
    store.told.append(lambda _: has_looked.set() if threading.current_thread() is other else None)

    def ask_again() -> None:
        other.start()
        assert has_looked.wait(PATIENCE_SECS)

    with counting(run, ask_again) as ran:
        answers.append(ask(run))
        other.join(PATIENCE_SECS)
    assert len(ran) == len(alone)
    assert len(answers) == 2
    assert answers[0] is answers[1]


def test_who_holds_the_model_waits_for_nobody(run: Run, store: WatchedStore) -> None:
    answers = []
    other = threading.Thread(target=lambda: answers.append(QUESTIONS["reading"](run)), daemon=True)
    is_making = threading.Event()
    store.told.append(
        lambda key: is_making.set() if key == (run.recording.rewritten, ("rows", POSITIONS - 1)) else None,
    )

    def ask_with_the_model() -> None:
        with run.loaded.lock:
            other.start()
            assert is_making.wait(PATIENCE_SECS)
            answers.append(QUESTIONS["reading"](run))

    holder = threading.Thread(target=ask_with_the_model, daemon=True)
    holder.start()
    holder.join(PATIENCE_SECS)
    other.join(PATIENCE_SECS)
    assert len(answers) == 2
    assert answers[0] == answers[1]


def test_what_failed_is_asked_anew(run: Run) -> None:
    def fail() -> None:
        raise RuntimeError("out of luck")

    with counting(run, fail), pytest.raises(RuntimeError, match="out of luck"):
        QUESTIONS["reading"](run)
    assert QUESTIONS["reading"](run).position == POSITIONS - 1
