"""Undocumented means failing: every setting, command, option, route and file is named in the documentation."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from glassformer.cli import app as command_line
from glassformer.server import router as routers
from glassformer.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
EVERYTHING = "\n".join(PAGES.values())


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str):
    row = re.search(rf"^\| `{name}` \|.*\|$", PAGES["settings.md"], re.MULTILINE)
    assert row, f"docs/settings.md has no row for {name}"
    assert Settings.model_fields[name].description in row[0], (
        "the meaning differs from the one in settings.py"
    )


def test_no_setting_is_documented_that_does_not_exist():
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGES["settings.md"], re.MULTILINE))
    assert documented == set(Settings.model_fields)


COMMANDS = typer.main.get_command(command_line).commands
SETTING_OPTIONS = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str):
    assert f"glassformer {name}" in EVERYTHING
    for parameter in COMMANDS[name].params:
        # Options of serve that are settings follow from docs/settings.md by its rule.
        for option in set(parameter.opts) - SETTING_OPTIONS - {"--help"}:
            if option.startswith("--"):
                assert re.search(rf"(?<!\w){option}(?![\w-])", EVERYTHING), f"{name} {option}"


def list_paths() -> list[str]:
    """The paths of every router, with converters left out: /llm/{path}."""
    modules = [
        importlib.import_module(f"{routers.__name__}.{module.name}")
        for module in pkgutil.iter_modules(routers.__path__)
    ]
    paths = {route.path for module in modules if hasattr(module, "router") for route in module.router.routes}
    return sorted(re.sub(r":\w+\}", "}", path) for path in paths)


@pytest.mark.parametrize("path", list_paths())
def test_every_route_is_documented(path: str):
    assert re.search(re.escape(path) + r"(?![\w/{])", PAGES["http.md"]), f"docs/http.md does not name {path}"


def test_every_file_has_its_phrase_in_the_tree():
    """The README's tree names every module of the package, alone or with the rest of its folder."""
    tree = re.search(r"```\nglassformer/\n(.*?)```", PAGES["README.md"], re.DOTALL)
    assert tree
    described = set(re.findall(r"[\w./-]+", tree[1]))
    for path in (ROOT / "glassformer").iterdir():
        if path.name.startswith(("__", ".")) or path.name == "py.typed":
            continue
        name = f"{path.name}/" if path.is_dir() else path.name
        assert name in described, f"README's tree does not name {name}"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str):
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[name]):
        if "://" not in target:
            assert (folder / target).exists(), f"{name} links to {target}"


def test_the_page_of_what_was_tried_is_what_the_table_says():
    """Every row of it names tests that are there, or that it is open."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reliability.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
