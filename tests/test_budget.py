"""Bytes that many things share, against a plain account of who was looked at when."""

import random
import threading
from dataclasses import dataclass

from glassformer.budget import Budget, ByteCache


@dataclass(eq=False)
class Thing:
    nbytes: int
    is_looked_at: bool = False
    may_go: bool = True

    def give_up(self) -> bool:
        if self.may_go:
            self.nbytes = 0
        return self.may_go


def test_what_was_looked_at_longest_ago_goes_first() -> None:
    budget = Budget(100)
    first, second, third = Thing(40), Thing(40), Thing(40)
    budget.hold(first)
    budget.hold(second)
    budget.look_at(first)
    budget.hold(third)
    assert [thing.nbytes for thing in (first, second, third)] == [40, 0, 40]


def test_what_is_being_looked_at_goes_last_and_what_cannot_go_stays() -> None:
    budget = Budget(100)
    followed, stuck, idle = Thing(30, is_looked_at=True), Thing(30, may_go=False), Thing(30)
    for thing in (followed, stuck, idle):
        budget.hold(thing)
    assert budget.make_room(30) == 10
    assert [thing.nbytes for thing in (followed, stuck, idle)] == [30, 30, 0]
    assert budget.make_room(60) == 10
    assert [thing.nbytes for thing in (followed, stuck, idle)] == [0, 30, 0]
    assert budget.make_room(100) == -30


def test_caches_of_several_kinds_share_a_budget() -> None:
    """Random questions, against a list of keys in the order in which they were looked at."""
    budget = Budget(1000)
    caches = [
        ByteCache[int, bytes](budget, len),
        ByteCache[int, bytes](budget, len, most_bytes=300),
    ]
    order: list[tuple[int, int, int]] = []
    draw = random.Random(5)
    for _ in range(2000):
        which, key = draw.randrange(2), draw.randrange(12)
        known = next((one for one in order if one[:2] == (which, key)), None)
        if draw.random() < 0.5:
            found = caches[which].find(key)
            assert (found is None) == (known is None)
            if known is not None:
                order.remove(known)
                order.append(known)
            continue
        size = draw.randrange(1, 350)
        if which == 1 and size > 300:
            continue
        caches[which].keep(key, bytes(size))
        order = [one for one in order if one[:2] != (which, key)] + [(which, key, size)]
        own = [one for one in order if one[0] == 1]
        while sum(one[2] for one in own) > 300:
            order.remove(own.pop(0))
        while sum(one[2] for one in order) > 1000:
            order.pop(0)
        assert budget.held_bytes == sum(one[2] for one in order)
        assert caches[1].nbytes <= 300


def test_a_value_that_is_too_large_is_not_kept_unless_it_is_the_newest_of_its_kind() -> None:
    strict, lenient = (
        ByteCache[str, bytes](Budget(10), len),
        ByteCache[str, bytes](Budget(10), len, keeps_newest=True),
    )
    for cache in (strict, lenient):
        cache.keep("small", bytes(4))
        cache.keep("large", bytes(40))
    assert [key for key, _ in strict.items()] == ["small"]
    assert [key for key, _ in lenient.items()] == ["large"]


def test_threads_that_ask_at_once_never_hold_too_much() -> None:
    budget, over = Budget(500), []
    cache = ByteCache[int, bytes](budget, len)

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(500):
            cache.keep(draw.randrange(30), bytes(draw.randrange(1, 90)))
            cache.find(draw.randrange(30))
            # What comes in is held beside what makes way for it, until that has gone.
            if budget.held_bytes > 500 + 4 * 90:
                over.append(budget.held_bytes)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert over == []
    assert budget.held_bytes == cache.nbytes <= 500
