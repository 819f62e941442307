"""How many rows a step may have, from the steps before it: fed with times, so that no clock matters."""

from glassformer.engine.pace import FEWEST_ROWS, MOST_ROWS, Pace

# Seconds that a step of a model takes beside what its rows take, and a row.
FIXED_SECS, ROW_SECS = 0.02, 0.004


def read(pace: Pace, count: int, *, secs: float = 0.5, stalled: dict[int, float] | None = None) -> list[int]:
    """The steps in which `count` rows are read; `stalled` are seconds that one takes longer, by its number."""
    steps: list[int] = []
    while count:
        allowed = pace.count_rows(secs)
        rows = min(count, allowed)
        pace.learn(
            rows,
            FIXED_SECS + ROW_SECS * rows + (stalled or {}).get(len(steps), 0.0),
            allowed=allowed,
        )
        steps.append(rows)
        count -= rows
    return steps


def test_a_stalled_step_costs_at_most_two_more() -> None:
    undisturbed = read(Pace(), 2000)
    for number in range(6):
        assert len(read(Pace(), 2000, stalled={number: 30.0})) <= len(undisturbed) + 2
    known = Pace()
    read(known, 2000)
    steady = known.count_rows(0.5)
    known.learn(steady, 118.0, allowed=steady)
    assert known.count_rows(0.5) >= 0.8 * steady


def test_the_fewest_rows_are_not_the_last_word() -> None:
    """Also where every step had been slow, so that a step has fewer rows than tell something by themselves."""
    pace = Pace()
    for _ in range(10):
        pace.learn(64, 60.0, allowed=64)
    assert pace.count_rows(0.5) == FEWEST_ROWS
    assert max(read(pace, 600)) > 80
    # In steps of a tenth of a second, beside others who write, as well.
    for _ in range(10):
        pace.learn(64, 60.0, allowed=64)
    assert len(read(pace, 600, secs=0.1)) < 600 / FEWEST_ROWS
    assert pace.count_rows(0.1) > FEWEST_ROWS


def test_a_machine_that_has_become_slow_is_believed_in_two_steps() -> None:
    pace = Pace()
    read(pace, 2000)
    before = pace.count_rows(0.5)
    for _ in range(2):
        pace.learn(before, 5.0, allowed=before)
    assert pace.count_rows(0.5) < before / 5


def test_a_short_prompt_says_nothing() -> None:
    pace = Pace()
    read(pace, 2000)
    before = pace.count_rows(0.5)
    for _ in range(10):
        pace.learn(3, FIXED_SECS, allowed=before)
    assert pace.count_rows(0.5) == before


def test_an_immeasurably_quick_step_is_allowed() -> None:
    pace = Pace()
    pace.learn(64, 0.0, allowed=64)
    assert pace.count_rows(0.5) == MOST_ROWS
