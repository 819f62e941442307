"""Explanations: the recomputed value, and the terms, against the model's own numbers."""

import random
import re
from functools import partial

import pytest
from adding_up import find_slip
from tracing import Case

from glassformer.errors import BadValue
from glassformer.explain.explain import explain
from glassformer.run.run_store import RunStore


def test_every_site_is_explained_by_its_operands(case: Case, store: RunStore) -> None:
    trace = case.trace(store)
    choose = random.Random(5)
    for address, site in trace.sites.items():
        shape = trace.shape(site)
        for _ in range(3):
            index = [choose.randrange(size) for size in shape]
            if site.axes[-1] == "key":
                index[-1] = choose.randrange(index[-2] + 1)
            explanation = explain(trace, address, index)
            if explanation.value is None:
                # A sliding window masks more than the future.
                assert explanation.recomputed is None
                continue
            size = float(abs(trace.read(address)[tuple(index)]))
            assert explanation.difference is not None, address
            assert explanation.difference <= 2e-4 * max(1.0, size), (address, index, explanation.latex)
            activate = partial(case.loaded.structure.activate, site.block or 0)
            assert find_slip(explanation, activate) is None, (address, index)


def test_operands_are_cells_that_can_be_opened(llama: Case, store: RunStore) -> None:
    trace = llama.trace(store)
    explanation = explain(trace, "q.1", [2, 5, 3])
    assert explanation.latex
    assert len(explanation.terms) == 16
    assert explanation.rest_count == 32 - 16
    contributions = [abs(term.contribution) for term in explanation.terms]
    assert contributions == sorted(contributions, reverse=True)
    for operand in (operand for term in explanation.terms for operand in term.operands):
        if operand.kind == "site":
            assert operand.value == pytest.approx(trace.value(operand.name, operand.index), rel=1e-5)
        else:
            weight = trace.loaded.structure.parameter(operand.name)
            assert operand.value == pytest.approx(float(weight[tuple(operand.index)]))


def test_a_masked_score_says_so(llama: Case, store: RunStore) -> None:
    explanation = explain(llama.trace(store), "attn_scores.0", [0, 3, 9])
    assert explanation.value is None
    assert "Masked" in explanation.note


def test_the_features_of_a_head_are_called_alike(llama: Case, store: RunStore) -> None:
    """Whoever reads a score and then a mixed value meets the same word, and no name of an axis."""
    trace = llama.trace(store)
    for address, index in (("attn_scores.0", [0, 9, 3]), ("attn_out.0", [9, 3])):
        for term in explain(trace, address, index).terms:
            assert re.fullmatch(r"(head \d+, )?feature \d+", term.label), address


@pytest.mark.parametrize("index", [[0], [0, -1], [70, 0], [0, 0, 0]])
def test_indices_out_of_range_are_named(llama: Case, store: RunStore, index: list[int]) -> None:
    with pytest.raises(BadValue, match=r"pos 0\.\.69, d_model 0\.\.31"):
        explain(llama.trace(store), "resid_pre.0", index)
