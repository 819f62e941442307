"""Undocumented means failing: every setting, command, option, route and file is named in the documentation."""

import re
from pathlib import Path

import click
import pytest
import typer
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, WebSocketRoute

from glassformer.cli import app as command_line
from glassformer.server.app import create_app
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


def list_commands() -> list[tuple[str, click.Command]]:
    group = typer.main.get_command(command_line)
    assert isinstance(group, click.Group)
    return sorted(group.commands.items())


@pytest.mark.parametrize(("name", "command"), list_commands())
def test_every_command_and_option_is_documented(name: str, command: click.Command):
    assert f"glassformer {name}" in EVERYTHING
    settings = {f"--{field.replace('_', '-')}" for field in Settings.model_fields}
    for parameter in command.params:
        # Options of serve that are settings follow from docs/settings.md by its rule.
        options = {option for option in parameter.opts if option.startswith("--")} - settings - {"--help"}
        for option in options:
            assert option in EVERYTHING, f"{name} {option}"


def list_paths(routes: list[BaseRoute], prefix: str = "") -> set[str]:
    paths = set()
    for route in routes:
        if isinstance(route, APIRoute | WebSocketRoute):
            paths.add(prefix + route.path)
        elif isinstance(route, Mount):
            paths |= list_paths(route.routes or [], prefix + route.path)
    return paths


def normalize(path: str) -> str:
    return re.sub(r"\{(\w+):path\}", r"{\1}", path)


@pytest.mark.parametrize("path", sorted(map(normalize, list_paths(create_app().routes))))
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
