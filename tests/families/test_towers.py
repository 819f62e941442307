"""The language model inside every model of pictures or sound says what the whole model says; docs/towers.md is true."""

import re

import pytest
import transformers
from tower import WHOLE_FAMILIES, measure_tower
from tower_table import PAGE, render_row

TEXT = PAGE.read_text(encoding="utf-8")
LINES = frozenset(TEXT.splitlines())
IS_MEASURED_VERSION = f"of transformers {transformers.__version__} " in TEXT
# Not tried again under the transformers that the page was made with: every attempt to build them is long.
NOT_BUILT = set(
    re.findall(r"^\| ([\w.-]+) \|", TEXT.partition("## What transformers itself")[2], re.MULTILINE)
)


@pytest.mark.parametrize("family", WHOLE_FAMILIES)
def test_tower(family: str) -> None:
    if IS_MEASURED_VERSION and family in NOT_BUILT:
        pytest.skip("transformers does not build it")
    row = measure_tower(family)
    assert row.wrong == ()
    if IS_MEASURED_VERSION:
        assert render_row(row) in LINES, "docs/towers.md is stale: run python tests/families/tower_table.py"


def test_most_are_served() -> None:
    """The page's own counts, from its rows."""
    served = TEXT.partition("## Refused")[0]
    assert len(re.findall(r"^\| [\w.-]+ \| \w+ \|", served, re.MULTILINE)) > 70
    assert "**0 silently wrong**" in TEXT


def test_every_type_is_listed() -> None:
    listed = set(re.findall(r"^\| ([\w.-]+) \|", TEXT, re.MULTILINE)) - {"family"}
    if IS_MEASURED_VERSION:
        assert listed == set(WHOLE_FAMILIES)
