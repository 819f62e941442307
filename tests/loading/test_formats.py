"""Every row of docs/formats.md, made and opened again."""

import re
from pathlib import Path

import pytest
from formats import PAGE, ROWS, Row, open_row, write_row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_page_says_what_happens(row: Row, tmp_path: Path) -> None:
    assert write_row(row, open_row(row, tmp_path / "model")) in PAGE.read_text().splitlines()


def test_the_page_has_no_other_rows() -> None:
    rows = re.findall(r"^\| (.*?) \| .*\|$", PAGE.read_text(), re.MULTILINE)
    assert rows == ["on the disk", *(row.name for row in ROWS)]
