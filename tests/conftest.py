"""What every test stands on: offline, reproducible, on two cores, and the same with or without a GPU."""

import os
from typing import Any

# Before anything imports huggingface_hub: a test that reaches for the network fails at once, everywhere.
os.environ["HF_HUB_OFFLINE"] = "1"
# What else lies on the machine that runs them is no concern of theirs.
os.environ["GLASSFORMER_LOCAL_MODELS"] = "false"

import pytest
import torch

# The tests that are marked `real`, by id: a report's keywords hold the names of folders too.
REAL = pytest.StashKey[set[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[REAL] = {item.nodeid for item in items if item.get_closest_marker("real")}
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say whether the real model's tests ran: where it cannot be had the rest passes without them."""
    marked = terminalreporter.config.stash.get(REAL, set())
    outcomes = [
        (outcome, report)
        for outcome in ("passed", "failed", "error", "xfailed", "skipped")
        for report in terminalreporter.stats.get(outcome, ())
        if getattr(report, "nodeid", None) in marked
    ]
    skipped = [report for outcome, report in outcomes if outcome == "skipped"]
    if len(outcomes) > len(skipped):
        terminalreporter.write_line(f"The tests of the real model ran: {len(outcomes) - len(skipped)}.")
    if skipped:
        reason = skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else skipped[0].longrepr
        terminalreporter.write_line(
            f"Tests of the real model that did not run: {len(skipped)}. {str(reason).removeprefix('Skipped: ')}"
        )


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
