"""Clients share an engine, however much one of them asks for; who gives way writes what it would write alone."""

from collections import Counter

import pytest
from test_engine import GREEDY, Reader, alone, make_requests, start

from glassformer.engine.client import CLIENT
from glassformer.engine.engine import MOST_CLIENTS, Engine
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.engine.session import Session
from glassformer.engine.step_plan import ALONE_SECS, FOREIGN_SECS, SHARED_SECS, choose_secs, share_rows
from glassformer.engine.turns import Turns
from glassformer.errors import TooMany
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling

ENDLESS = GenerationRequest([7], Sampling(temperature=1, top_p=1, seed=1), max_new_tokens=100_000)


class Beside(Reader):
    """Counts what others had written while its text was."""

    def __init__(self, others: list[Reader]) -> None:
        super().__init__()
        self.others = others
        self.moved = 0

    def count(self) -> int:
        return sum(len(reader.tokens) for reader in self.others)

    def begin(self) -> None:
        self.moved = -self.count()

    def end(self, error: BaseException | None) -> None:
        self.moved += self.count()
        super().end(error)


def ask(client: str, engine: Engine, request: GenerationRequest) -> tuple[Session, Reader]:
    CLIENT.set(client)
    return start(engine, request)


def test_one_clients_endless_texts_keep_nobody_waiting(loaded: LoadedModel) -> None:
    """Neither by all places nor by a full queue; and with it run no more of theirs than the engine has places for."""
    engine = Engine(loaded, max_running=4, max_waiting=96)
    greedy = [ask("greedy", engine, ENDLESS) for _ in range(100)]
    with pytest.raises(TooMany):
        ask("greedy", engine, ENDLESS)
    assert greedy[3][1].begun.wait(60)
    crowd = [reader for _, reader in greedy]
    for number in range(20):
        request = GenerationRequest([5, 6, 7 + number], GREEDY, max_new_tokens=12)
        polite = Beside(crowd)
        CLIENT.set("polite")
        sequence = TokenSequence(loaded, request)
        engine.submit(Session(sequence, polite.tokens.append, polite.end, polite.begin))
        written = polite.wait()
        # Two have two of the four places: with it runs one of theirs.
        assert polite.moved <= len(written) + 2, number
        assert written == alone(loaded, request)
    for session, _ in greedy:
        session.cancel()
    for _, reader in greedy:
        assert reader.ended.wait(60)
        assert reader.errors == [None]
    assert not engine._stores
    assert not engine._solos
    engine.close()


def test_who_gives_way_goes_on_where_it_stood(loaded: LoadedModel) -> None:
    engine = Engine(loaded, max_running=4, max_waiting=60, prefix_bytes=2**20)
    requests = make_requests(loaded, 24, most=40)
    readers = [
        ask(f"client {place % 3 if place > 8 else 0}", engine, request)[1]
        for place, request in enumerate(requests)
    ]
    for request, reader in zip(requests, readers, strict=True):
        assert reader.wait() == alone(loaded, request)
    engine.close()


def test_a_text_that_gave_way_can_be_left(llama: LoadedModel) -> None:
    engine = Engine(llama, max_running=2, max_waiting=8)
    greedy = [ask("greedy", engine, ENDLESS) for _ in range(2)]
    for _, reader in greedy:
        assert reader.begun.wait(60)
    polite, polite_reader = ask("polite", engine, ENDLESS)
    assert polite_reader.begun.wait(60)
    session, reader = greedy[1]  # the latest of those who had most
    session.cancel()
    assert reader.ended.wait(60)
    assert session.sequence not in engine._stores
    for each, its in (greedy[0], (polite, polite_reader)):
        each.cancel()
        assert its.ended.wait(60)
    engine.close()


def test_all_clients_together_have_a_limit(llama: LoadedModel) -> None:
    engine = Engine(llama, max_running=1, max_waiting=0)
    begun = [ask(f"client {number}", engine, ENDLESS) for number in range(MOST_CLIENTS)]
    with pytest.raises(TooMany):
        ask("one more", engine, ENDLESS)
    for session, _ in begun:
        session.cancel()
    for _, reader in begun:
        assert reader.ended.wait(60)
    engine.close()


def make_sessions(loaded: LoadedModel, client: str, lengths: list[int]) -> list[Session]:
    def nothing(token: DecodedToken) -> None:
        pass

    return [
        Session(
            TokenSequence(loaded, GenerationRequest([3] * length, GREEDY, max_new_tokens=1)),
            nothing,
            lambda error: None,
            client=client,
        )
        for length in lengths
    ]


@pytest.mark.parametrize("places", [1, 2, 5, 16])
def test_places_are_shared_until_nobody_has_two_more_than_one_who_waits(
    llama: LoadedModel, places: int
) -> None:
    turns = Turns()
    running: list[Session] = []
    for client, count in (("a", 30), ("b", 3), ("c", 1), ("d", 9)):
        for session in make_sessions(llama, client, [2] * count):
            turns.put(session)
        joining, leaving = turns.share(running, places)
        running = [session for session in running if session not in leaving] + joining
        held = Counter(session.client for session in running)
        waiting = {session.client for session in turns}
        assert 0 < len(running) <= places
        assert all(most - held[client] < 2 for most in held.values() for client in waiting)
        assert turns.share(running, places) == ([], [])
    assert len(turns) + len(running) == 43


def test_rows_for_prompts_are_shared_by_clients(llama: LoadedModel) -> None:
    many, few = make_sessions(llama, "many", [90] * 20), make_sessions(llama, "few", [40, 95])
    one = make_sessions(llama, "one", [10])
    owners = {session.sequence: session.client for session in (*many, *few, *one)}

    def share(reading: list[Session], **most: int) -> Counter[str]:
        counts: Counter[str] = Counter()
        for part in share_rows(reading, most):
            counts[owners[part.sequence]] += part.count
        return counts

    # What the last needs is little; the others have the same.
    assert share([*many, *few, *one], many=110, few=110, one=110) == {"one": 10, "few": 50, "many": 50}
    assert share([*many, *few, *one], many=16, few=110, one=110) == {"one": 10, "few": 84, "many": 16}
    assert share(one, one=110) == {"one": 10}


def test_prompts_of_who_has_more_texts_keep_those_of_others_waiting_least() -> None:
    assert choose_secs(["a", "a"], ["b"]) == {"a": FOREIGN_SECS}
    assert choose_secs(["b"], ["a", "a"]) == {"b": SHARED_SECS}
    assert choose_secs(["a", "b"], ["a"]) == {"a": SHARED_SECS, "b": SHARED_SECS}
    assert choose_secs(["a", "a", "b"], ["a", "c"]) == {"a": FOREIGN_SECS, "b": SHARED_SECS}
    assert choose_secs(["a", "a", "b"], []) == {"a": SHARED_SECS, "b": SHARED_SECS}
    assert choose_secs(["a"] * 3, []) == {"a": ALONE_SECS}
