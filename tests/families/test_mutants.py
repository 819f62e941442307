"""No wrong equation is taken for the model's own, whatever the format and however large one feature is."""

from collections import Counter

import pytest
from mutating import (
    FACTORS,
    FAMILIES,
    FORMATS,
    HARD_IN_16_BITS,
    HARD_TO_TELL,
    KINDS,
    make_subject,
    mutate,
    try_mutants,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_equations_are_refused_beside_the_right_ones(family: str) -> None:
    subject = make_subject(family)
    assert len(subject.equations) > 40
    tried: Counter[str] = Counter()
    for dtype in FORMATS:
        for factor in FACTORS:
            for verdict in try_mutants(subject, dtype, factor):
                where = (family, dtype, factor, verdict)
                assert verdict.outcome != "accepted", where
                if verdict.outcome == "undecided":
                    assert verdict.kind in HARD_TO_TELL | (
                        HARD_IN_16_BITS if dtype.itemsize == 2 else set()
                    ), where
                tried[verdict.outcome] += 1
    assert tried["refused"] > 500
    # Hardly any says the same on this prompt as the right one.
    assert tried["same"] < 0.1 * tried.total()


def test_every_kind_is_tried_somewhere() -> None:
    subjects = [make_subject(family) for family in ("gemma2", "gpt_oss", "gpt2", "lfm2_moe", "granite")]
    found = {
        kind
        for subject in subjects
        for equation in subject.equations.values()
        for kind, change in KINDS.items()
        if any(True for _ in mutate(equation, change))
    }
    assert found == set(KINDS)
