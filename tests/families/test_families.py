"""Every causal family, built tiny, served, drawn and compared: nothing silently wrong, docs/families.md up to date."""

import re

import pytest
import transformers
from building import FAMILIES, SETTINGS
from measuring import Row, measure
from table import PAGE, render_row

# Read once: 189 rows.
LINES = frozenset(PAGE.read_text(encoding="utf-8").splitlines())
MEASURED_WITH = re.search(r"of transformers ([\d.]+)", PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str) -> None:
    row = measure(family)
    assert row.wrong == []
    assert row.served or row.not_built or "sees later tokens" in (row.refused or "")
    assert all(row.reasons), "a refused site has no reason"
    if is_measured_version():
        assert render_row(row) in LINES, "docs/families.md is stale: run python tests/families/table.py"


def test_the_goals_of_the_table_hold() -> None:
    """What the page claims at its top, counted from its rows."""
    rows = [line.split(" | ") for line in LINES if re.match(r"\| [\w-]+ \| (yes|no) \| ", line)]
    assert len(rows) > 150
    assert {row[0] for row in rows if row[1] != "yes"} == {"| cpmant", "| prophetnet"}
    assert sum(row[2] == "yes" for row in rows) >= 165
    assert sum(row[3] == "exact" for row in rows) >= 140
    assert any("**0 silently wrong**" in line for line in LINES)


def test_every_type_is_listed() -> None:
    listed = {match.group(1) for line in LINES if (match := re.match(r"\| ([\w-]+) \| ", line))} - {"family"}
    if is_measured_version():
        assert listed == set(FAMILIES)


def test_a_wrong_value_is_found() -> None:
    """The measure itself can fail: a model whose block computes something else than its equations is noticed."""
    row = Row("llama", blocks=1)
    from measuring import Reference, compare_with_transformers
    from torch import ones

    compare_with_transformers(
        row, {"attn_probs.0": ones(1, 2, 2)}, Reference(ones(2, 3), [], {0: ones(1, 2, 2) / 2})
    )
    assert row.wrong == ["attn_probs.0 is not transformers' own"]
    assert not row.is_attention_exact


@pytest.mark.parametrize(
    ("loops", "refused"), [(2, "some of its blocks run more than once in a forward"), (1, None)]
)
def test_blocks_that_run_again_are_not_drawn(
    monkeypatch: pytest.MonkeyPatch, loops: int, refused: str | None
) -> None:
    """An address names one tensor, so a model that repeats its blocks would show one of several as if it were all."""
    monkeypatch.setitem(SETTINGS, "n_recurrent_loops", loops)
    if "dory" not in FAMILIES:
        pytest.skip("this transformers has no family that repeats blocks")
    row = measure("dory")
    assert row.refused == refused
    assert row.wrong == []


def is_measured_version() -> bool:
    """Under another transformers the rows may differ; that nothing is silently wrong is asked of every version."""
    return MEASURED_WITH is not None and MEASURED_WITH.group(1) == transformers.__version__
