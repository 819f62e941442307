"""The lock of a model: one at a time, in order, and again by whoever has it."""

import threading
import time

import pytest

from glassformer.compute.lock import ModelLock


def test_it_is_handed_on_in_the_order_in_which_it_was_asked_for() -> None:
    lock, order = ModelLock(), []

    def take(which: int) -> None:
        with lock:
            order.append(which)

    threads = []
    with lock:
        for which in range(8):
            threads.append(threading.Thread(target=take, args=(which,)))
            threads[-1].start()
            while len(lock._waiting) <= which:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_who_comes_back_at_once_lets_those_before_who_wait() -> None:
    """As between the pieces of a rebuild: a step that waits comes before the next piece."""
    lock, order = ModelLock(), []

    def take() -> None:
        with lock:
            order.append("step")

    for turn in range(50):
        step = threading.Thread(target=take)
        with lock:
            step.start()
            while not lock._waiting:
                time.sleep(0.0001)
        with lock:
            order.append("piece")
        step.join()
        assert order[2 * turn :] == ["step", "piece"]


def test_whoever_has_it_takes_it_again_and_nobody_else_meanwhile() -> None:
    lock, held, wrong = ModelLock(), [], []

    def work() -> None:
        for _ in range(300):
            with lock, lock:
                held.append(1)
                if len(held) != 1 or not lock.is_owned():
                    wrong.append(len(held))
                held.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not lock.is_owned()


def test_an_error_inside_lets_the_next_one_in() -> None:
    lock = ModelLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    entered = threading.Event()

    def take() -> None:
        with lock:
            entered.set()

    threading.Thread(target=take).start()
    assert entered.wait(5)
