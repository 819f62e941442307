"""The engine: every mix of generations writes what each would write alone, and one never hurts another."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import pytest
import torch

from glassformer.budget import Budget
from glassformer.compute.key_value import KeyValueBatch, KeyValueStore
from glassformer.engine import engine as engines
from glassformer.engine import pace as paces
from glassformer.engine.decoding import decode
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence, Watcher
from glassformer.engine.session import Session
from glassformer.engine.step_plan import choose_secs
from glassformer.errors import ModelFailed, Stopping, TooMany, Unavailable
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Intervention, Sampling
from glassformer.run.intervention import Intervened
from glassformer.run.recording import Recording
from glassformer.structure.structure import Structure

GREEDY = Sampling(temperature=0)


@dataclass
class Reader:
    """Collects what a session says."""

    tokens: list[DecodedToken] = field(default_factory=list)
    errors: list[BaseException | None] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def end(self, error: BaseException | None) -> None:
        self.errors.append(error)
        self.ended.set()

    @property
    def ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]

    def wait(self) -> list[int]:
        assert self.ended.wait(60)
        assert self.errors == [None]
        return self.ids


def start(
    engine: Engine, request: GenerationRequest, watcher: Watcher | None = None
) -> tuple[Session, Reader]:
    reader = Reader()
    sequence = TokenSequence(engine.loaded, request, watcher=watcher)
    session = Session(sequence, reader.tokens.append, reader.end, reader.begun.set)
    engine.submit(session)
    return session, reader


def alone(loaded: LoadedModel, request: GenerationRequest) -> list[int]:
    return [token.token_id for token in decode(loaded, request)]


def make_requests(loaded: LoadedModel, count: int, *, most: int = 30) -> list[GenerationRequest]:
    """Prompts of all lengths, greedy and sampled in many ways."""
    rng = random.Random(5)
    room = loaded.context - most - 1
    return [
        GenerationRequest(
            [rng.randrange(2, loaded.vocab) for _ in range(rng.randrange(1, min(90, room)))],
            rng.choice([GREEDY, Sampling(temperature=0.9, top_p=0.9, top_k=30, seed=rng.randrange(1000))]),
            max_new_tokens=rng.randrange(1, most),
        )
        for _ in range(count)
    ]


@pytest.fixture
def engine(loaded: LoadedModel) -> Engine:
    return Engine(loaded, max_running=16, max_waiting=64)


def run_out_of_memory(*_: object) -> None:
    """In place of what needs memory."""
    raise torch.OutOfMemoryError("no memory")


def test_every_generation_in_a_mix_equals_its_solo_run(engine: Engine) -> None:
    requests = make_requests(engine.loaded, 24)
    readers = [start(engine, request)[1] for request in requests]
    for request, reader in zip(requests, readers, strict=True):
        assert reader.wait() == alone(engine.loaded, request)
    engine.close()


def test_the_thread_of_an_idle_engine_ends_and_another_takes_over(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "IDLE_SECS", 0.05)
    engine = Engine(llama, max_running=4, max_waiting=0, prefix_bytes=2**20)
    request = GenerationRequest([3, 4, 5], GREEDY, max_new_tokens=5)
    expected = alone(llama, request)
    for _ in range(3):
        assert start(engine, request)[1].wait() == expected
        deadline = time.monotonic() + 10
        while engine._thread is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert engine._thread is None
    assert engine._prefixes.nbytes > 0
    engine.close()
    assert engine._prefixes.nbytes == 0
    engine.join(1)


def test_a_long_prompt_does_not_stall_the_others(llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "MOST_ROWS", paces.FEWEST_ROWS)  # as on a machine as slow as there is
    engine = Engine(llama, max_running=4, max_waiting=0)
    writing = start(engine, GenerationRequest([3, 4, 5], GREEDY, max_new_tokens=4000))
    assert writing[1].begun.wait(60)
    prompt = [random.Random(1).randrange(2, llama.vocab) for _ in range(600)]
    request = GenerationRequest(prompt, GREEDY, max_new_tokens=5)
    _, long = start(engine, request)
    before = len(writing[1].tokens)
    assert long.wait() == alone(llama, request)
    # The prompt took dozens of steps, and in each of them the other wrote a token.
    assert len(writing[1].tokens) - before > 20
    writing[0].cancel()
    assert writing[1].ended.wait(60)
    engine.close()


@pytest.mark.parametrize("changes", [[], [Intervention(address="mlp_out.0", operation="scale", value=2.0)]])
def test_one_stalled_step_does_not_make_the_rest_of_a_prompt_slow(
    llama: LoadedModel, changes: list[Intervention]
) -> None:
    """In packed steps, and in those that a changed run has for itself."""
    structure = Structure(llama.model, llama.tokenizer)
    spans: list[int] = []

    class Stalling(Recording):
        @contextmanager
        def watch(self, rows: slice, start: int, stop: int) -> Iterator[None]:
            spans.append(stop - start)
            with super().watch(rows, start, stop):
                yield
                if len(spans) == 1:
                    time.sleep(3)

    prompt = [random.Random(1).randrange(2, llama.vocab) for _ in range(2000)]
    recording = Stalling(structure, "stalled")
    watcher = Intervened(recording, structure, changes) if changes else recording
    engine = Engine(llama, max_running=4, max_waiting=0)
    start(engine, GenerationRequest(prompt, GREEDY, max_new_tokens=1), watcher)[1].wait()
    reading = [span for span in spans if span > 1]
    assert sum(reading) == len(prompt)
    # 64 rows in three seconds, then the fewest there are; believed for good, that is 121 steps more.
    assert len(reading) < 20
    engine.close()


@pytest.mark.parametrize(
    ("reading", "writing", "secs"), [(1, 0, 0.5), (1, 1, 0.1), (1, 20, 0.1), (6, 2, 0.3), (30, 1, 0.5)]
)
def test_the_longer_a_step_may_take_the_more_wait_for_their_first_token(
    reading: int, writing: int, secs: float
) -> None:
    assert choose_secs([""] * reading, [""] * writing) == {"": pytest.approx(secs)}


def test_cancelling_ends_one_and_frees_its_memory(engine: Engine) -> None:
    requests = make_requests(engine.loaded, 3)
    long = GenerationRequest([7], Sampling(temperature=1, top_p=1, seed=1), max_new_tokens=100_000)
    session, left = start(engine, long)
    readers = [start(engine, request)[1] for request in requests]
    assert left.begun.wait(60)
    session.cancel()
    assert left.ended.wait(60)
    for request, reader in zip(requests, readers, strict=True):
        assert reader.wait() == alone(engine.loaded, request)
    assert session.sequence not in engine._stores
    assert session.sequence not in engine._solos
    engine.close()


def test_the_queue_is_bounded_and_those_who_leave_it_end(llama: LoadedModel) -> None:
    engine = Engine(llama, max_running=1, max_waiting=1)
    endless = GenerationRequest([7], Sampling(temperature=1, top_p=1, seed=1), max_new_tokens=100_000)
    running, first = start(engine, endless)
    assert first.begun.wait(60)
    waiting, second = start(engine, endless)
    with pytest.raises(TooMany):
        start(engine, endless)
    waiting.cancel()
    assert second.ended.wait(60)
    assert not second.begun.is_set()
    running.cancel()
    assert first.ended.wait(60)
    assert start(engine, GenerationRequest([7], GREEDY, max_new_tokens=3))[1].wait()
    engine.close()
    with pytest.raises(Stopping):
        start(engine, endless)


def test_unusable_numbers_end_one_generation_only(llama: LoadedModel) -> None:
    """A token whose embedding is not a number spoils the sequence it stands in, and no other of the same forward."""
    weight = llama.model.get_input_embeddings().weight
    kept = weight[9].clone()
    engine = Engine(llama, max_running=8, max_waiting=8)
    good = [request for request in make_requests(llama, 12) if 9 not in request.token_ids]
    expected = [alone(llama, request) for request in good]
    with torch.no_grad():
        weight[9] = torch.nan
    try:
        bad = [start(engine, GenerationRequest([5, 9, 6], GREEDY, max_new_tokens=8))[1] for _ in range(3)]
        readers = [start(engine, request)[1] for request in good]
        for reader, tokens in zip(readers, expected, strict=True):
            assert reader.wait() == tokens
        for reader in bad:
            assert reader.ended.wait(60)
            assert isinstance(reader.errors[0], ModelFailed)
    finally:
        with torch.no_grad():
            weight[9] = kept
        engine.close()


def test_recordings_of_a_mix_equal_whole_forwards(llama: LoadedModel) -> None:
    structure = Structure(llama.model, llama.tokenizer)
    engine = Engine(llama, max_running=8, max_waiting=8)
    requests = make_requests(llama, 6)
    recordings = [Recording(structure, f"r{number}") for number in range(len(requests))]
    readers = [
        start(engine, request, recording)[1] for request, recording in zip(requests, recordings, strict=True)
    ]
    for request, recording, reader in zip(requests, recordings, readers, strict=True):
        ids = [*request.token_ids, *reader.wait()]
        assert recording.positions == len(ids)
        with torch.inference_mode():
            out = llama.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        for block, hidden in enumerate(out.hidden_states[:-1]):
            torch.testing.assert_close(recording.residual(block), hidden[0], atol=1e-4, rtol=1e-4)
    engine.close()


# --- prefixes ----------------------------------------------------------------------------------------


class Counting(Recording):
    """Counts the rows that were computed for it."""

    computed = 0

    def watch(self, rows: slice, start: int, stop: int):
        self.computed += stop - start
        return super().watch(rows, start, stop)


def test_what_was_read_before_is_not_computed_again(llama: LoadedModel) -> None:
    structure = Structure(llama.model, llama.tokenizer)
    engine = Engine(llama, max_running=4, max_waiting=4, prefix_bytes=2**24)
    first = Counting(structure, "first")
    prompt = [*make_requests(llama, 1)[0].token_ids, 11, 12, 13, 14, 15]
    written = start(engine, GenerationRequest(prompt, GREEDY, max_new_tokens=6), first)[1].wait()
    assert first.computed == len(prompt) + 6

    recordings = [first]
    # The next turn, a branch from an earlier token, and the same again.
    for number, ids in enumerate(
        ([*prompt, *written, 21, 22, 23], [*prompt[:-2], 31, 32], [*prompt, *written])
    ):
        request = GenerationRequest(ids, GREEDY, max_new_tokens=5)
        recording = Counting(structure, f"again {number}")
        recordings.append(recording)
        tokens = start(engine, request, recording)[1].wait()
        assert tokens == alone(llama, request)
        assert recording.computed < 5 + 5
        whole = Recording(structure, "whole")
        list(decode(llama, request, watcher=whole))
        for block in range(3):
            torch.testing.assert_close(recording.residual(block), whole.residual(block), atol=1e-5, rtol=1e-5)
    engine.close()


def test_a_generation_that_cannot_begin_ends_and_the_next_one_works(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the memory for a copy of a held prefix cannot be had."""
    engine = Engine(llama, max_running=4, max_waiting=4, prefix_bytes=2**24)
    request = GenerationRequest(list(range(3, 43)), GREEDY, max_new_tokens=3)
    expected = start(engine, request)[1].wait()

    with monkeypatch.context() as patch:
        patch.setattr(KeyValueStore, "fork", run_out_of_memory)
        reader = start(engine, GenerationRequest([*request.token_ids[:30], 7], GREEDY, max_new_tokens=3))[1]
        assert reader.ended.wait(60)
        assert isinstance(reader.errors[0], ModelFailed)
    assert start(engine, request)[1].wait() == expected
    assert len(engine) == 0
    engine.close()


def test_an_engine_survives_a_step_that_fails_in_an_unforeseen_way(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(llama, max_running=4, max_waiting=0)
    request = GenerationRequest([3, 4, 5], GREEDY, max_new_tokens=9)
    with monkeypatch.context() as patch:
        patch.setattr(engines, "plan", lambda *_: 1 / 0)
        _, reader = start(engine, request)
        assert reader.ended.wait(60)
        assert isinstance(reader.errors[0], ZeroDivisionError)
    assert len(engine) == 0
    assert start(engine, request)[1].wait() == alone(llama, request)
    engine.close()


class Panic(BaseException):
    """As native code raises it (pyo3's PanicException): no Exception."""


def test_an_engine_that_dies_says_so(llama: LoadedModel) -> None:
    """To those who run, those who wait, whoever keeps the model, and whoever comes later."""
    said: list[Unavailable] = []
    engine = Engine(llama, max_running=2, max_waiting=4, on_death=said.append)
    request = GenerationRequest([3, 4, 5], GREEDY, max_new_tokens=200)
    waited = threading.Event()

    def panic(token: DecodedToken) -> None:
        assert waited.wait(60)
        raise Panic

    first = Reader()
    engine.submit(Session(TokenSequence(llama, request), panic, first.end))
    readers = [first, *(start(engine, request)[1] for _ in range(3))]
    waited.set()
    for reader in readers:
        assert reader.ended.wait(60)
        assert len(reader.errors) == 1
        assert isinstance(reader.errors[0], Unavailable)
    assert "Panic" in said[0].message
    assert len(engine) == 0
    with pytest.raises(Unavailable, match="loads it anew"):
        start(engine, request)


def write_side_by_side(engine: Engine, count: int) -> tuple[list[GenerationRequest], list[list[int]]]:
    """Eight short prompts at once, and the `count` tokens that are written after each."""
    requests = [GenerationRequest([3, 4, number], GREEDY, max_new_tokens=count) for number in range(5, 13)]
    readers = [start(engine, request)[1] for request in requests]
    return requests, [reader.wait() for reader in readers]


def test_what_was_read_side_by_side_is_not_computed_again(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(llama, max_running=8, max_waiting=0, prefix_bytes=2**24)
    requests, texts = write_side_by_side(engine, 70)
    take, reused = engine._prefixes.take, []

    def counting(sequence: TokenSequence) -> tuple[KeyValueStore, int]:
        store, count = take(sequence)
        reused.append(count)
        return store, count

    monkeypatch.setattr(engine._prefixes, "take", counting)
    for request, text in zip(requests, texts, strict=True):
        longer = GenerationRequest([*request.token_ids, *text, 7], GREEDY, max_new_tokens=5)
        assert start(engine, longer)[1].wait() == alone(llama, longer)
    assert reused == [3 + len(text) - 1 for text in texts]  # nobody has read the last token they wrote
    engine.close()


def test_an_engine_survives_that_what_was_read_cannot_be_kept(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(llama, max_running=8, max_waiting=0, prefix_bytes=2**24)
    with monkeypatch.context() as patch:
        patch.setattr(KeyValueStore, "fork", run_out_of_memory)
        patch.setattr(KeyValueBatch, "_close_gap", run_out_of_memory)
        requests, found = write_side_by_side(engine, 9)
    assert found == [alone(llama, request) for request in requests]
    assert start(engine, requests[0])[1].wait() == found[0]
    engine.close()


def test_a_changed_run_reads_a_long_prompt_in_pieces(
    llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like any other, so that it neither stalls the rest nor differs from one forward."""
    structure = Structure(llama.model, llama.tokenizer)
    change = Intervention(address="mlp_out.0", operation="scale", value=-2.0, index={"pos": {"start": 20}})
    request = GenerationRequest(make_requests(llama, 1)[0].token_ids * 3, GREEDY, max_new_tokens=4)
    spans: list[int] = []

    class Seen(Intervened):
        def watch(self, rows: slice, start: int, stop: int) -> AbstractContextManager[None]:
            spans.append(stop - start)
            return super().watch(rows, start, stop)

    monkeypatch.setattr(paces, "MOST_ROWS", paces.FEWEST_ROWS)  # as on a machine as slow as there is
    engine = Engine(llama, max_running=4, max_waiting=4)
    recording = Recording(structure, "pieces")
    tokens = start(engine, request, Seen(recording, structure, [change]))[1].wait()
    assert max(spans) < len(request.token_ids)
    whole = Recording(structure, "whole")
    watcher = Intervened(whole, structure, [change])
    assert tokens == [token.token_id for token in decode(llama, request, watcher=watcher)]
    for block in range(3):
        torch.testing.assert_close(recording.residual(block), whole.residual(block), atol=1e-5, rtol=1e-5)
    engine.close()


def test_prefixes_stay_within_their_bytes(llama: LoadedModel) -> None:
    engine = Engine(llama, max_running=4, max_waiting=40, prefix_bytes=200_000)
    readers = [start(engine, request)[1] for request in make_requests(llama, 30)]
    for reader in readers:
        reader.wait()
    assert 0 < engine._prefixes.nbytes <= 200_000
    engine.close()


def test_what_generations_under_way_remember_counts(llama: LoadedModel) -> None:
    """Others make way for it, and it goes with the generation."""
    budget = Budget(2**20)
    engine = Engine(llama, max_running=2, max_waiting=2, prefix_bytes=0, budget=budget)
    held: list[int] = []
    ended = threading.Event()
    request = GenerationRequest([5] * 100, Sampling(temperature=0), max_new_tokens=20)
    sequence = TokenSequence(llama, request)
    engine.submit(Session(sequence, lambda _: held.append(budget.held_bytes), lambda _: ended.set()))
    assert ended.wait(30)
    # Two blocks, keys and values of two heads of eight numbers.
    assert max(held) >= 119 * 2 * 2 * 2 * 8 * 4
    engine.close()
    engine.join(30)
    assert budget.held_bytes == 0
