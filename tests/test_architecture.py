"""Rules that keep the rooms apart; the import contracts themselves are in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "glassformer"

# In lines. 400 is what we aim to stay under; here the test insists.
LONGEST_FILE = 500


def list_modules_after(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded after running a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(outcome.stdout.split())


def test_light_modules_stay_light():
    """`glassformer --help` is quick, and the wire and the tiles can be used where torch is not installed."""
    light = ["errors", "settings", "protocol.messages", "tiles", "cli"]
    loaded = list_modules_after("\n".join(f"import glassformer.{name}" for name in light))
    assert not loaded & {"torch", "transformers", "interp_engine"}


def test_nothing_below_the_server_knows_http():
    below = "files compute structure operation capture loading anatomy registry shape engine run explain tiles".split()
    files = [path for folder in below for path in (PACKAGE / folder).rglob("*.py")]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    loaded = list_modules_after("\n".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert not loaded & {"fastapi", "starlette", "uvicorn"}


def test_import_contracts_hold():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo"]
    outcome = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def test_files_hold_one_idea():
    long = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := path.read_text().count("\n")) > LONGEST_FILE
    }
    assert not long
