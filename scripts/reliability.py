"""Writes docs/reliability.md from tests/reliability.toml: what was tried against a server, and what came of it.

Runs every test that a row names and writes nothing where one fails (`make reliability`); with `--check` it runs none,
and says whether the page is what the table says and every test is there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "reliability.toml"
PAGE = ROOT / "docs" / "reliability.md"
HEAD = """\
# Reliability

What was tried against a server, what came of it, and the test that holds it there: {rows} rows. An open one says so.
`make reliability` runs these tests and writes this page from `tests/reliability.toml`.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An attack or a fault. `tests` are files below tests/, web/e2e/ or the project's root; none where it is open."""

    tried: str
    outcome: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A kind of attack or fault, and what is to be known of it."""

    title: str
    text: str
    rows: tuple[Row, ...]


def read_sections() -> list[Section]:
    given: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["section"]
    return [
        Section(
            section["title"],
            section.get("text", "").strip(),
            tuple(Row(row["tried"], row["outcome"], tuple(row["tests"])) for row in section["row"]),
        )
        for section in given
    ]


def find_test(name: str) -> Path:
    """The file of a test. Raises FileNotFoundError."""
    for folder in (ROOT / "tests", ROOT / "web" / "e2e", ROOT):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"tests/reliability.toml names {name}, which there is not")


def write_page(sections: list[Section]) -> str:
    lines = [HEAD.format(rows=sum(len(section.rows) for section in sections))]
    for section in sections:
        lines += [f"## {section.title}", ""]
        if section.text:
            lines += [section.text, ""]
        lines += ["| what was tried | outcome | test |", "|---|---|---|"]
        lines += [f"| {row.tried} | {row.outcome} | {tell_tests(row)} |" for row in section.rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def tell_tests(row: Row) -> str:
    return ", ".join(f"`{name}`" for name in row.tests) or "open"


def list_tests(sections: list[Section]) -> Iterator[Path]:
    names = {name for section in sections for row in section.rows for name in row.tests}
    yield from sorted(find_test(name) for name in names)


def run_tests(files: list[Path]) -> None:
    """Exits where one fails. Benchmarks are run by `make bench`, and fail there."""
    python = [str(path) for path in files if path.name.startswith("test_")]
    specs = [path.name for path in files if path.name.endswith(".spec.ts")]
    for command in (
        [sys.executable, "-m", "pytest", "-q", *python],
        [sys.executable, "hatch_build.py", "npm", "run", "--silent", "e2e", "--", *specs],
    ):
        if subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
        ).returncode:
            sys.exit("A test that docs/reliability.md names has failed.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="run no test, and write nothing")
    only_checks = parser.parse_args().check
    sections = read_sections()
    files = list(list_tests(sections))
    page = write_page(sections)
    if not only_checks:
        run_tests(files)
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/reliability.md is not what tests/reliability.toml says; run `make reliability`.")


if __name__ == "__main__":
    main()
