"""The versions that are tested together: one list, from which make installs, and to which what is here is held."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from test_packaging import load_hook

from glassformer.tested import LIST, list_dependencies, list_newer, read_tested

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK: ModuleType = load_hook(ROOT)
ASKED = [
    *PROJECT["project"]["dependencies"],
    *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
    *PROJECT["build-system"]["requires"],
    HOOK.NODE_WHEEL,
    "pip",
]


@pytest.mark.parametrize("line", dict.fromkeys(ASKED))
def test_every_requirement_is_locked_within_its_range(line: str) -> None:
    asked = Requirement(line)
    assert read_tested()[canonicalize_name(asked.name)] in asked.specifier


def test_what_requirements_stand_on_is_locked_too() -> None:
    # What only some platforms and builds need is named by those alone, so that it cannot be found on others.
    elsewhere = ("nvidia", "cuda", "triton", "colorama", "pywin32", "appnope")
    missing = set(list_dependencies()) - set(read_tested())
    assert not {name for name in missing if not name.startswith(elsewhere)}


def test_the_list_holds_versions_and_nothing_else() -> None:
    """No address, no file, no build of one machine: `2.13.0` is met by `2.13.0+cpu`, never the other way round."""
    lines = [line for line in LIST.read_text().splitlines() if not line.startswith("# ")]
    assert len(lines) > 80
    assert not [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.!]*", line)]
    assert [line.partition("==")[0] for line in lines] == sorted(read_tested())


def test_make_installs_what_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if "-m pip install" in line]
    assert len(installs) >= 4
    assert all("$(VERSIONS)" in line for line in installs)
    assert all("$(BUILD_VERSIONS)" in line for line in installs if "--editable" in line)
    assert f"TESTED := {LIST.relative_to(ROOT)}\n" in makefile
    assert "VERSIONS := --constraint $(TESTED)\n" in makefile
    assert "BUILD_VERSIONS := --build-constraint $(TESTED)\n" in makefile


def test_the_package_itself_takes_newer_versions() -> None:
    """Whoever installs the wheel beside other packages is not held to one version of anything."""
    for line in PROJECT["project"]["dependencies"]:
        assert not {clause.operator for clause in Requirement(line).specifier} & {"==", "==="}, line


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A folder with two packages in other versions than were tested: one newer, one a local build of the same."""
    tested = read_tested()
    for name, version in (("zarr", "99.1"), ("numpy", f"{tested['numpy']}+local")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return tmp_path


def test_what_is_newer_is_found(newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {one.name for one in list_newer()}
    monkeypatch.syspath_prepend(newer)
    assert metadata.version("numpy").endswith("+local")
    (found,) = [one for one in list_newer() if one.name not in before]
    assert (found.name, found.installed, found.tested) == ("zarr", Version("99.1"), read_tested()["zarr"])


@pytest.mark.slow
def test_the_doctor_says_what_is_newer(newer: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from glassformer.cli import app; app()",
        "doctor",
        "sorter",
        "--device",
        "cpu",
    ]
    paths = os.pathsep.join([str(newer), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "500"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    assert f"Newer than what was tested: zarr 99.1 (tested: {read_tested()['zarr']})." in done.stdout


@pytest.mark.slow
def test_the_log_says_at_the_start_what_is_newer(newer: Path) -> None:
    """Read from the process: a server says it before it loads anything."""
    command = [
        sys.executable,
        "-c",
        "from glassformer.cli import app; app()",
        "serve",
        "--offline",
        "--port",
        "0",
    ]
    paths = os.pathsep.join([str(newer), str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, "--default-model", "sorter"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    (line,) = [line for line in log.splitlines() if "newer than what was tested" in line]
    assert f"zarr 99.1 (tested: {read_tested()['zarr']})" in line


def test_make_and_the_package_ask_for_the_same_pythons(tmp_path: Path) -> None:
    """The newest Python is not enough where a dependency has none for it: one sentence, not a page of pip's."""
    asked = SpecifierSet(PROJECT["project"]["requires-python"])
    for version in ("3.10", "3.11", "3.12", "3.13", "3.14"):
        python = tmp_path / f"python{version}"
        numbers = tuple(map(int, version.split(".")))
        # A Python that says it is of another version, and makes no environment.
        python.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec echo "Python {version}.0"\n[ "$1" = -c ] || exit 7\n'
            f'exec {sys.executable} -c "import sys; sys.version_info = {numbers}; $2"\n'
        )
        python.chmod(0o755)
        command = ["make", "-s", "-f", str(ROOT / "Makefile"), f"{tmp_path}/.made", f"VENV={tmp_path}"]
        done = subprocess.run(
            [*command, f"PYTHON={python}"],
            cwd=ROOT,
            # Not with what the make says that may be running this.
            env={
                name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert (f"but '{python}' is Python {version}.0" in done.stderr) == (f"{version}.0" not in asked), (
            done.stderr
        )
