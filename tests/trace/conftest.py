"""Fixtures over `tracing.py`: one case for each family, made once."""

from typing import Any

import pytest
import torch
from torch import Tensor
from tracing import SHAPES, Case, Close, make_case

from glassformer.run.store import TraceStore


@pytest.fixture(scope="session", params=sorted(SHAPES))
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="session")
def llama() -> Case:
    return make_case("llama")


@pytest.fixture(scope="session")
def mixture() -> Case:
    return make_case("mixtral")


@pytest.fixture
def store() -> TraceStore:
    return TraceStore(64 * 2**20)


@pytest.fixture
def close() -> Close:
    """Equal to transformers up to the rounding of float32 sums."""

    def check(actual: Any, expected: Tensor) -> None:
        torch.testing.assert_close(torch.as_tensor(actual), expected.float(), rtol=1e-4, atol=2e-5)

    return check
