"""How many threads a step gets, fed with times: a machine is a function of threads, and no clock matters."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from glassformer.compute.thread_count import LATEST_SECS, Step, ThreadCount

# What a step of a machine takes with so many threads: wall seconds and processor seconds.
Machine = Callable[[int], tuple[float, float]]


@dataclass
class Run:
    """Steps of one row on a machine, one after the other, with what was chosen for each."""

    count: ThreadCount
    now_secs: float = 1000.0
    chosen: list[int] = field(default_factory=list)

    def go(
        self,
        machine: Machine,
        secs: float,
        *,
        idle: Callable[[int], float | None],
        rows: int = 1,
        kind: str = "forward",
    ) -> list[int]:
        """Steps for `secs`; the threads that each had."""
        until, before = self.now_secs + secs, len(self.chosen)
        while self.now_secs < until:
            threads = self.count.count
            self.chosen.append(threads)
            wall_secs, cpu_secs = machine(threads)
            self.now_secs += wall_secs
            self.count.observe(Step(kind, rows, threads, wall_secs, cpu_secs, idle(threads), self.now_secs))
        return self.chosen[before:]


def quiet(cores: int, serial_secs: float = 0.005, parallel_secs: float = 0.08) -> Machine:
    """A machine with nobody else on it; waiting threads spin."""

    def run(threads: int) -> tuple[float, float]:
        wall_secs = serial_secs + parallel_secs / min(threads, cores)
        return wall_secs, wall_secs * min(threads, cores) * 0.99

    return run


def beside(busy: int, cores: int, penalty: float) -> Machine:
    """With so many other processes that compute: who has more threads than cores left waits for the last of them."""

    def run(threads: int) -> tuple[float, float]:
        free = cores - busy
        if threads <= free:
            return quiet(cores)(threads)
        wall_secs = penalty * quiet(cores)(max(1, free))[0]
        return wall_secs, wall_secs * min(threads, free + 0.5 * busy * 0.5)

    return run


@pytest.mark.parametrize("cores", [2, 4, 16])
def test_a_quiet_machine_is_used_whole(cores: int) -> None:
    run = Run(ThreadCount(cores))
    chosen = run.go(quiet(cores), 60, idle=lambda threads: cores - threads)
    assert set(chosen) == {cores}


def test_one_busy_process_on_two_cores_takes_one_thread_away_within_two_steps_and_gives_it_back() -> None:
    run = Run(ThreadCount(2))
    run.go(quiet(2), 5, idle=lambda threads: 0.0)
    # Steps of 1.2 s in place of 45 ms.
    chosen = run.go(beside(1, 2, penalty=14), 60, idle=lambda threads: 0.0)
    assert chosen[:2].count(2) >= 1
    assert chosen[2:].count(2) <= 2  # looked again once a minute, whatever the machine says about idle cores
    chosen = run.go(quiet(2), 5, idle=lambda threads: 2.0 - threads)
    assert chosen.index(2) * 0.085 < 1.5
    assert set(chosen[chosen.index(2) :]) == {2}


def test_of_many_cores_as_many_are_used_as_are_left() -> None:
    run = Run(ThreadCount(16))
    run.go(quiet(16), 5, idle=lambda threads: 16 - threads)
    chosen = run.go(beside(3, 16, penalty=6), 30, idle=lambda threads: max(0, 13 - threads))
    assert max(chosen[-50:]) <= 13
    assert sum(chosen[-50:]) / 50 > 12
    chosen = run.go(quiet(16), 30, idle=lambda threads: 16 - threads)
    assert set(chosen[-20:]) == {16}


def test_two_cores_of_a_container_that_shows_sixteen() -> None:
    """A quota of processor time: the machine says that cores are idle, and gives none of them."""

    def throttled(threads: int) -> tuple[float, float]:
        wall_secs = quiet(2)(threads)[0] * max(1.0, threads / 2)
        return wall_secs, wall_secs * min(threads, 2)

    run = Run(ThreadCount(16))
    chosen = run.go(throttled, 300, idle=lambda threads: 14.0)
    assert chosen[5] <= 2
    assert sum(threads > 2 for threads in chosen[-1000:]) < 20


def test_what_is_not_quicker_with_fewer_threads_keeps_them() -> None:
    """A model of which much is serial, whose threads sleep meanwhile: it has little processor time in quiet, too."""

    def sleepy(threads: int) -> tuple[float, float]:
        wall_secs = 0.02 + 0.06 / threads
        return wall_secs, 0.02 + 0.06

    run = Run(ThreadCount(2))
    chosen = run.go(sleepy, 300, idle=lambda threads: 0.4)
    assert chosen.count(1) * 0.08 < 0.05 * 300
    assert set(chosen[-200:-10]) <= {1, 2}
    assert chosen[-1000:].count(2) > 980


def test_others_that_come_and_go_do_not_stop_a_text_each_time() -> None:
    """A browser that draws for a second and rests for one, as long as it draws what is written."""
    run = Run(ThreadCount(2))
    busy, calm = beside(1, 2, penalty=30), quiet(2)
    for _ in range(60):
        run.go(busy, 1, idle=lambda threads: 0.0)
        run.go(calm, 1, idle=lambda threads: 2.0 - threads)
    secs = run.now_secs - 1000.0
    # Of what one thread writes all the time.
    assert len(run.chosen) / secs > 0.8 / quiet(1)(1)[0]
    chosen = run.go(calm, 15, idle=lambda threads: 2.0 - threads)
    assert chosen[-1] == 2


def test_a_hiccup_costs_a_few_steps_at_most() -> None:
    run = Run(ThreadCount(2))
    run.go(quiet(2), 5, idle=lambda threads: 0.0)
    run.go(lambda threads: (0.5, 0.6), 0.4, idle=lambda threads: 0.0)
    chosen = run.go(quiet(2), 10, idle=lambda threads: 2.0 - threads)
    assert chosen.count(1) * 0.085 < 2
    assert chosen[-1] == 2


def test_a_trial_is_not_judged_by_what_is_unlike() -> None:
    """A prompt's step among those that write one token, and blocks that run again between them."""
    run = Run(ThreadCount(2))
    slow = beside(1, 2, penalty=14)
    for _ in range(20):
        run.go(slow, 0.3, idle=lambda threads: 0.0)
        run.go(slow, 0.1, idle=lambda threads: 0.0, rows=40, kind="block")
    assert set(run.chosen[-30:]) == {1}
    # Another kind of step alone ends a trial, too.
    for _ in range(200):
        run.go(quiet(2), 0.1, idle=lambda threads: 2.0 - threads, kind="block")
    assert run.count.count == 2


def test_who_says_nothing_about_idle_cores_is_asked_less_and_less() -> None:
    run = Run(ThreadCount(2))
    chosen = run.go(beside(1, 2, penalty=14), 600, idle=lambda threads: None)
    tried = sum(threads == 2 for threads in chosen)
    assert tried < 30
    chosen = run.go(quiet(2), LATEST_SECS + 5, idle=lambda threads: None)
    assert chosen[-1] == 2


def test_steps_of_another_number_of_threads_say_nothing() -> None:
    """Those that had to share with another generation, or ended after the choice had changed."""
    count = ThreadCount(4)
    for _ in range(50):
        count.observe(Step("forward", 1, 2, 5.0, 0.1, 0.0, 1000.0))
    assert count.count == 4


def test_after_a_pause_no_more_threads_begin_than_there_are_cores_to_spare() -> None:
    run = Run(ThreadCount(4))
    run.go(quiet(4), 5, idle=lambda threads: 4.0 - threads)
    run.count.begin(2.1)
    assert run.count.count == 2
    run.count.begin(0.0)
    assert run.count.count == 1
    run.count.begin(4.0)
    assert run.count.count == 1  # more are tried, not taken
    assert run.go(quiet(4), 5, idle=lambda threads: 4.0 - threads)[-1] == 4
