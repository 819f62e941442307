"""One server with tiny models for all tests that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import Running, serving
from tiny import make_models


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def running(model_dir: Path) -> Iterator[Running]:
    with serving(model_dir, rate_limit="") as server:
        yield server


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as found:
        yield found
