"""Making a model ready: what cannot be made quicker keeps its own code, and loads."""

import sys
from pathlib import Path

import pytest
import torch
from tiny import make_tokenizer
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import build

from glassformer.compute import linear
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.registry import prepare
from glassformer.registry.prepare import look_into, quicken_steps


def load(family: str) -> LoadedModel:
    model = build(family).eval().requires_grad_(False)
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    look_into(loaded)
    return loaded


def list_quickened(loaded: LoadedModel) -> list[nn.Module]:
    return [module for module in loaded.model.modules() if "forward" in vars(module)]


def test_copies_are_counted_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    monkeypatch.setattr(
        prepare,
        "install_products",
        lambda model, spare_bytes, pause: ({"float32": {1: "narrowed"}}, spare_bytes),
    )
    loaded = load("llama")
    before = loaded.bytes
    quicken_steps(loaded, spare_bytes=1000, compiles_blocks=False)
    assert loaded.bytes == before + 1000


def test_a_model_that_takes_turns_holds_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)
    loaded = load("falcon")
    before = loaded.bytes
    quicken_steps(loaded, spare_bytes=2**30, compiles_blocks=True)
    assert loaded.packing_fault is not None
    assert list_quickened(loaded) == []
    assert loaded.bytes == before


def test_a_model_loads_whose_products_cannot_be_made_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "FEWEST_BYTES", 0)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(linear, "spread", fail)
    loaded = load("llama")
    quicken_steps(loaded, spare_bytes=2**30, compiles_blocks=False)
    assert list_quickened(loaded) == []
    assert loaded.packing_fault is None
