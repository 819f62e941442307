"""Where a notebook runs: the address its browser is given. Frames in real notebooks are in test_notebook_show.py."""

import importlib.util
from typing import Any

import pytest

from glassformer.notebook import place
from glassformer.notebook.place import find_place
from glassformer.settings import Settings


def test_on_this_machine_the_port_itself_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(place.HUB_PREFIX, raising=False)
    found = find_place(Settings(), 4321)
    assert found.url("trace=a") == "http://127.0.0.1:4321/llm?trace=a"
    assert found.host is None


@pytest.mark.parametrize("has_proxy", [True, False])
def test_a_hub_reaches_it_through_its_proxy(monkeypatch: pytest.MonkeyPatch, has_proxy: bool) -> None:
    known = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        if name == "jupyter_server_proxy":
            return object() if has_proxy else None
        return known(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setenv(place.HUB_PREFIX, "/user/mia/")
    found = find_place(Settings(), 4321)
    assert found.base == ("/user/mia/proxy/4321" if has_proxy else "")
    assert found.host == "*"


def test_any_other_way_is_named_by_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(place.HUB_PREFIX, "/user/mia/")
    found = find_place(Settings(page_url="https://host.example/to/{port}/"), 4321)
    assert found.url("trace=a") == "https://host.example/to/4321/llm?trace=a"
    assert found.host == "host.example"
