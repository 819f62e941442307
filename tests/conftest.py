"""What every test stands on: offline, reproducible, on two cores, and the same with or without a GPU."""

import os

# Before anything imports huggingface_hub: a test that reaches for the network fails at once, everywhere.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
