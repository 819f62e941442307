"""Tiny models, loaded as the server loads them."""

from pathlib import Path

import pytest
from tiny import SHAPES, make_model

from glassformer.model.load import LoadedModel, load_model
from glassformer.model.source import Catalog


@pytest.fixture(scope="session", params=sorted(SHAPES))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("models")
    make_model(root / request.param, request.param)
    return load(root, request.param)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("models")
    make_model(root / "llama", "llama")
    return load(root, "llama")


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("models")
    make_model(root / "gpt2", "gpt2")
    return load(root, "gpt2")


def load(root: Path, name: str) -> LoadedModel:
    source = Catalog([root]).find(name)
    assert source.folder is not None
    return load_model(source, source.folder, device="cpu")
