"""The cases that the page's own explanations are held to leave nothing out, and what Python says of them holds."""

import ast
import inspect
import math

import pytest
import torch
from cell_case import Case
from cell_cases import list_equations, make_cases
from transformers.activations import ACT2FN

from glassformer.anatomy import candidate
from glassformer.anatomy.candidate import equation
from glassformer.operation.activation import FUNCTIONS
from glassformer.operation.bounded import Rounding
from glassformer.operation.closed_set import OPERATIONS, compute_bound, compute_cell
from glassformer.operation.term import number

MADE = make_cases()
EQUATIONS = [one for case in MADE.cases for one in list_equations(case.equation)]
# Functions in `candidate.py` that make equations of their keyword arguments.
WRITERS = {"equation", "_mapped", "_normed"}


def read_written() -> dict[str, set[object]]:
    """The names of all attributes that `candidate.py` writes, with those values of each that stand there as such."""
    written: dict[str, set[object]] = {}

    def note(name: object, value: ast.expr) -> None:
        found = written.setdefault(str(name), set())
        if isinstance(value, ast.Constant) and value.value is not None:
            found.add(value.value)

    for node in ast.walk(ast.parse(inspect.getsource(candidate))):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in WRITERS:
                for keyword in node.keywords:
                    if keyword.arg is not None:
                        note(keyword.arg, keyword.value)
            case ast.Dict():
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant):
                        note(key.value, value)
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id="attributes"), slice=ast.Constant() as key)]
            ):
                note(key.value, node.value)
            case ast.For(target=ast.Name(id="score")):
                written.setdefault("score", set()).update(ast.literal_eval(node.iter))
    return written


def read_used(name: str) -> set[object]:
    """The values that an attribute has in the cases."""
    values = [one.attributes[name] for one in EQUATIONS if name in one.attributes]
    return {value if value.__hash__ else str(value) for value in values}


def test_attributes_are_found_however_they_are_written():
    written = read_written()
    assert {
        "by",
        "broadcast",
        "transposed",
        "rows",
        "group_experts",
        "pattern",
        "merge_heads",
    } <= written.keys()
    assert written["by"] == {"token_ids", "positions", "row"}


def test_every_operation_has_a_case():
    assert {one.operation for one in EQUATIONS} == OPERATIONS.keys()


@pytest.mark.parametrize("name", sorted(read_written()))
def test_every_attribute_that_an_equation_may_have_has_a_case(name: str):
    used = read_used(name)
    assert used
    assert read_written()[name] <= used


def test_every_value_of_an_attribute_has_a_case():
    styles = {
        (one.attributes["pairing"], one.attributes["table"]) for one in EQUATIONS if one.operation == "rotary"
    }
    assert styles == {*candidate.ROTARY_STYLES}
    assert read_used("norm") == {"rms", "layer"}
    assert {*candidate.POSITION_STARTS} <= read_used("first")
    assert {*FUNCTIONS, *candidate.GATE_FUNCTIONS} <= read_used("function")
    assert {type(ACT2FN[key]) for key in ACT2FN} <= {type(module) for module in MADE.operands.functions}


# What becomes of infinite numbers depends on the kernel; the others are told from masked ones.
FINITE = [case for case in MADE.cases if not case.name.startswith("wild.")]


@pytest.mark.parametrize("case", FINITE, ids=lambda case: case.name)
def test_a_cell_is_what_the_whole_has_there(case: Case):
    with torch.inference_mode():
        bounded = compute_bound(case.equation, MADE.operands, Rounding.of(torch.float32))
        cells = [compute_cell(case.equation, MADE.operands, index).value for index in case.indices]
    for index, found in zip(case.indices, cells, strict=True):
        recorded = float(MADE.operands.sites[case.name][tuple(index)])
        if math.isfinite(found):
            assert abs(recorded - found) <= 2 * float(bounded.error[tuple(index)])
        else:
            assert recorded == pytest.approx(found, nan_ok=True)


@pytest.mark.parametrize("case", FINITE, ids=lambda case: case.name)
def test_terms_add_up_to_the_cell_where_nothing_else_is_said(case: Case):
    for index in case.indices:
        with torch.inference_mode():
            cell = compute_cell(case.equation, MADE.operands, index)
        if cell.result is None and math.isfinite(cell.value):
            parts = [term.contribution for term in cell.terms]
            assert cell.value == pytest.approx(math.fsum(parts), rel=1e-12, abs=1e-12 * max(map(abs, parts)))


def test_what_a_norm_divides_by_is_as_exact_as_its_cells():
    inner = equation("softcap", "x", cap=1.5)
    cell = compute_cell(equation("norm", inner, norm="rms", eps=1e-5), MADE.operands, [2, 9])
    row = 1.5 * (MADE.operands.sites["x"][2].double() / 1.5).tanh()
    assert cell.value == pytest.approx(float(row[9] / (row.square().mean() + 1e-5).sqrt()), rel=1e-14)


def test_a_zero_has_no_sign():
    assert (number(-0.0), number(0.0), number(-1e-7)) == ("0", "0", r"-1 \cdot 10^{-7}")
