"""Generations taking turns: all move, none starves, each ends once."""

import threading
import time
from collections.abc import Iterator

import pytest

from glassformer.engine.turns import Job, Turns
from glassformer.errors import TooMany


class Run:
    """A job that notes its steps and its end."""

    def __init__(self, name: str, count: int, log: list[str]) -> None:
        self.ended = threading.Event()
        self.errors: list[BaseException | None] = []
        self.closed = False
        self.job = Job[str](self.steps(name, count), log.append, self.end)

    def steps(self, name: str, count: int) -> Iterator[str]:
        try:
            for step in range(count):
                if name == "bad" and step == 2:
                    raise RuntimeError("broken")
                time.sleep(0.001)
                yield name
        finally:
            self.closed = True

    def end(self, error: BaseException | None) -> None:
        self.errors.append(error)
        self.ended.set()


def test_jobs_interleave_and_end_once() -> None:
    turns, log = Turns("test", max_running=3, max_waiting=3), []
    runs = [Run(name, 20, log) for name in "abcd"]
    for run in runs:
        turns.submit(run.job)
    for run in runs:
        assert run.ended.wait(5)
        assert run.errors == [None]
    early = log[:30]
    assert all(8 <= early.count(name) <= 12 for name in "abc")
    assert "d" not in early  # three at a time, first come first served
    turns.close()


def test_a_failing_job_harms_no_other() -> None:
    turns, log = Turns("test", max_running=2, max_waiting=2), []
    bad, good = Run("bad", 5, log), Run("good", 5, log)
    turns.submit(bad.job)
    turns.submit(good.job)
    assert bad.ended.wait(5)
    assert good.ended.wait(5)
    assert isinstance(bad.errors[0], RuntimeError)
    assert log.count("good") == 5
    turns.close()


def test_cancelling_ends_a_running_and_a_waiting_job() -> None:
    turns, log = Turns("test", max_running=1, max_waiting=1), []
    runs = [Run("a", 100_000, log), Run("b", 100_000, log)]
    for run in runs:
        turns.submit(run.job)
    with pytest.raises(TooMany):
        turns.submit(Run("c", 1, log).job)
    while not log:
        time.sleep(0.001)
    for run in runs:
        run.job.cancel()
    for run in runs:
        assert run.ended.wait(5)
    assert len(log) < 100_000
    assert runs[0].closed
    assert len(turns) == 0
    turns.close()


def test_closing_ends_everything() -> None:
    turns, log = Turns("test", max_running=2, max_waiting=2), []
    run = Run("a", 100_000, log)
    turns.submit(run.job)
    turns.close()
    assert run.ended.wait(5)
    with pytest.raises(TooMany):
        turns.submit(Run("b", 1, log).job)
