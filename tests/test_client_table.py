"""The page of clients tells of every client that `make clients` runs, and of one in a row only."""

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_has_a_row_for_each_client() -> None:
    spec = importlib.util.spec_from_file_location("run_clients", ROOT / "clients" / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| (.*?) \|", (ROOT / "docs" / "clients.md").read_text(), re.MULTILINE
    )
    told = {name: works for name, _, works in rows}
    for client in module.CLIENTS:
        assert told.get(client.name), f"docs/clients.md does not say what works with {client.name}"
        assert (ROOT / "clients" / client.script).is_file()
