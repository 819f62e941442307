"""The build hook: which Node it takes, when it builds, what it says when it cannot, and what the wheel holds."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from glassformer.tested import list_dependencies

ROOT = Path(__file__).resolve().parents[1]
PERMISSIVE = {"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "OFL-1.1"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the hook reads: itself and the sources of the page."""
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "glassformer" / "server" / "page").mkdir(parents=True)
    return tmp_path


def load_hook(project: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", project / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install_program(folder: Path, name: str, output: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {output}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("v22.12.0", True), ("v24.1.0", True), ("v22.11.9", False), ("v20.20.2", False), ("nonsense", False)],
)
def test_node_on_path_is_taken_when_recent_enough(project: Path, monkeypatch, version: str, accepted: bool):
    hook = load_hook(project)
    programs = project / "bin"
    install_program(programs, "node", version)
    install_program(programs, "npm-cli.js", "")
    (programs / "npm").symlink_to(programs / "npm-cli.js")
    monkeypatch.setenv("PATH", str(programs))
    found = hook.find_node_on_path()
    assert found == ((programs / "node", programs / "npm-cli.js") if accepted else None)


def test_node_is_a_build_requirement_only_where_it_is_needed(project: Path, monkeypatch):
    hook = load_hook(project)
    monkeypatch.setenv("PATH", "")
    requirements = hook.PageBuildHook.dependencies
    assert requirements(None) == [hook.NODE_WHEEL]
    (hook.PAGE / "index.html").write_text("built")
    hook.STAMP.write_text(hook.hash_page_sources())
    assert requirements(None) == []


def test_the_page_is_stale_by_content_not_by_time(project: Path):
    hook = load_hook(project)
    assert hook.is_page_stale()
    (hook.PAGE / "index.html").write_text("built")
    hook.STAMP.write_text(hook.hash_page_sources())
    assert not hook.is_page_stale()
    entry = project / "web" / "src" / "main.tsx"
    entry.touch()
    (project / "web" / "src" / "any.test.ts").write_text("a test cannot change the page")
    assert not hook.is_page_stale()
    entry.write_text(entry.read_text() + "\n")
    assert hook.is_page_stale()


def test_without_any_node_one_sentence_says_what_to_do(project: Path):
    # -S leaves out site-packages, and with it the Node that this environment may hold.
    outcome = subprocess.run(
        [sys.executable, "-S", str(project / "hatch_build.py"), "page"],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Building the page needs Node 22.12 or newer")
    assert "pip install" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_the_wheel_holds_the_page_and_the_models(tmp_path: Path):
    hook = load_hook(ROOT)
    assert not hook.is_page_stale(), "build the page first: 'make page'"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "glassformer/py.typed",
        "glassformer/tested.txt",
        "glassformer/protocol/SPEC.md",
        "glassformer/server/page/index.html",
        "glassformer/server/page/licenses.md",
        "glassformer/bundled/tales/model.safetensors",
        "glassformer/bundled/sorter/model.safetensors",
    ):
        assert wanted in names
    assert any(name.startswith("glassformer/server/page/assets/") for name in names)
    assert not [name for name in names if name.startswith(("web/", "tests/"))]
    assert wheel.stat().st_size < 20_000_000


def test_the_page_takes_the_licences_of_all_that_is_in_it_along() -> None:
    """Read from what was built, and from what npm says of each package; in the one-file page, too."""
    hook = load_hook(ROOT)
    text = (hook.PAGE / "licenses.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^## (\S+) - \S+ \(([^)]*)\)$", text, re.MULTILINE))
    package = json.loads((ROOT / "web" / "package.json").read_text())
    assert set(package["dependencies"]) <= set(told)
    assert set(told.values()) <= PERMISSIVE
    for name, licence in told.items():
        about = ROOT / "web" / "node_modules" / name / "package.json"
        if about.is_file():  # a page that was built elsewhere came without
            assert json.loads(about.read_text())["license"] == licence
    # An export's chunks are not compressed, so its page has no codecs.
    one = (hook.PAGE / "one.html").read_text(encoding="utf-8")
    assert {name for name in told if f"## {name} - " not in one} == {"numcodecs"}


def test_nothing_that_the_package_stands_on_has_a_licence_that_reaches_over() -> None:
    for name in sorted(set(list_dependencies())):
        about = metadata.metadata(name)
        classified = [each for each in about.get_all("Classifier", []) if each.startswith("License")]
        said = " ".join(
            [about.get("License-Expression") or "", *classified, (about.get("License") or "")[:80]]
        )
        assert not re.search(r"\bA?GPL|GNU (Affero )?General Public", said), f"{name}: {said}"


def test_lock_files_carry_no_addresses():
    assert "://registry" not in (ROOT / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in (ROOT / "web" / "package-lock.json").read_text()


def test_the_container_is_no_root_and_keeps_the_tested_versions() -> None:
    """Read, not built: a builder is at hand in few places."""
    lines = (ROOT / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]
    last = max(at for at, (name, _) in enumerate(steps) if name == "FROM")
    final = [(name, rest) for name, rest in steps[last:]]
    users = [rest for name, rest in final if name == "USER"]
    assert users
    assert all(user.isdecimal() and int(user) > 0 for user in users)
    assert final.index(("USER", users[0])) < next(
        at for at, (name, _) in enumerate(final) if name == "ENTRYPOINT"
    )
    health = next(rest for name, rest in final if name == "HEALTHCHECK")
    assert "/health" in health
    assert any("--constraint glassformer/tested.txt" in rest for name, rest in steps if name == "RUN")
    (volume,) = [rest for name, rest in final if name == "VOLUME"]
    homes = dict(pair.split("=") for name, rest in final if name == "ENV" for pair in rest.split())
    # All that is written lies below the volume, so the rest may be read-only.
    assert homes["HF_HOME"].startswith(volume)
    assert homes["GLASSFORMER_HOST"] == "0.0.0.0"  # noqa: S104  # so the server wants keys before it starts
