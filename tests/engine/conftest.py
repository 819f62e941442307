"""Tiny models, loaded as the server loads them."""

from pathlib import Path

import pytest
from tiny import SHAPES, make_model

from glassformer.compute.attention import install
from glassformer.files.catalog import Catalog
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel


# Each shape once through packed forwards, and one of them through its own cache.
@pytest.fixture(scope="session", params=[*sorted(SHAPES), "llama-solo"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("models")
    name = request.param.removesuffix("-solo")
    make_model(root / name, name)
    return load(root, name, packs=name == request.param)


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


def load(root: Path, name: str, *, packs: bool = True) -> LoadedModel:
    source = Catalog([root]).find(name)
    assert source.folder is not None
    loaded = load_model(source, source.folder, device="cpu")
    if packs:
        assert install(loaded.model)
    assert (loaded.packing_fault is None) == packs
    return loaded
