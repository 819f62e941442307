"""Adapters that only the hub has, over bases that only the hub has, open under their id there like any other model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import make_adapter, read_plainly
from local_hub import LocalHub
from safetensors.torch import load_file
from torch import Tensor, nn

from glassformer.errors import GlassformerError, ModelRefused, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.loading.options import LoadOptions
from glassformer.registry.registry import Registry

IDS = torch.tensor([[5, 9, 41, 7, 3, 12]])
BASE, LORA = "someone/whole", "somebody/lora"


@pytest.fixture
def shelf(models: Path, hub: LocalHub, tmp_path: Path) -> Any:
    """The hub with adapters beside its models."""
    root = tmp_path / "shelf"
    shutil.copytree(models, root)
    (root / "somebody").mkdir()
    make_adapter(root / BASE, root / LORA, base_model_name_or_path=BASE)
    make_adapter(root / BASE, root / "somebody" / "dora", base_model_name_or_path=BASE, use_dora=True)
    make_adapter(root / BASE, root / "somebody" / "lost", base_model_name_or_path="/home/somebody/lost-7b")
    hub.root = root
    return root


def open_registry(hub: LocalHub, cache: Path, *roots: Path, **options: Any) -> Registry:
    catalog = Catalog(roots, hub_endpoint=hub.url, hub_cache=cache, **options)
    return Registry(catalog, device="cpu")


def merge(base: Path, adapter: Path) -> Any:
    """By hand: the scale is alpha 8 over rank 4."""
    model = read_plainly(base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    for key in [key for key in tensors if "lora_A" in key]:
        module = model.get_submodule(key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
        assert isinstance(module, nn.Linear)
        module.weight.data += 2.0 * tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
    return model


@torch.inference_mode()
def logits_of(model: Any) -> Tensor:
    return model(input_ids=IDS).logits


def test_an_adapter_and_its_base_are_fetched(hub: LocalHub, shelf: Path, cache: Path) -> None:
    registry = open_registry(hub, cache)
    loaded = registry.load(LORA).result(60)
    assert loaded.model_id == LORA
    expected = logits_of(merge(shelf / BASE, shelf / LORA))
    torch.testing.assert_close(logits_of(loaded.model), expected, atol=1e-5, rtol=1e-5)
    assert loaded.base is registry.load(BASE).result(60)
    summary = registry.summary(LORA)
    assert (summary.source, summary.base, summary.status) == ("hub", BASE, "ready")
    # And again without the hub, from the cache, where it is listed with its base.
    hub.is_down = True
    for options in ({}, {"offline": True}):
        again = open_registry(hub, cache, lists_hub=True, **options)
        assert {source.model_id: source.base and source.base.model_id for source in again.catalog.list()}[
            LORA
        ] == BASE
        assert again.summary(LORA).opens
        assert torch.equal(logits_of(again.load(LORA).result(60).model), logits_of(loaded.model))


def test_one_is_laid_over_a_base_that_is_named(
    hub: LocalHub, shelf: Path, cache: Path, tmp_path: Path
) -> None:
    """Also where it names one that is nowhere; a base that is there is taken as it is."""
    shutil.copytree(shelf / BASE, tmp_path / "roots" / "mine")
    registry = open_registry(hub, cache, tmp_path / "roots")
    base = registry.load("mine", LoadOptions(device="cpu", dtype="bfloat16")).result(60)
    loaded = registry.load("mine+somebody/lost").result(60)
    assert loaded.base is base
    assert not any(BASE in line for line in hub.lines)
    expected = logits_of(merge(shelf / BASE, shelf / "somebody" / "lost"))
    assert (logits_of(loaded.model).float() - expected).abs().max() < 0.1 * expected.abs().max()
    assert (logits_of(base.model).float() - expected).abs().max() > 0.2 * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("somebody/dora", ModelRefused, "use_dora.*Merged into its base"),
        ("somebody/lost", UnknownModel, "adapter for 'lost-7b', which is not here"),
        ("someone/whole+someone/parts", UnknownModel, "'someone/parts' is no adapter"),
        ("someone/whole+someone/nothing", UnknownModel, "no model 'someone/nothing'"),
    ],
)
def test_refusals(
    hub: LocalHub, shelf: Path, cache: Path, name: str, kind: type[GlassformerError], sentence: str
) -> None:
    registry = open_registry(hub, cache)
    with pytest.raises(kind, match=sentence):
        registry.load(name).result(60)
    assert not any(line.endswith("/model.safetensors") and "/resolve/" in line for line in hub.lines)
    # Nothing is lost, and the next request works.
    assert registry.load(LORA).result(60).base is not None


def test_a_shape_is_that_of_the_base(hub: LocalHub, shelf: Path, cache: Path) -> None:
    catalog = open_registry(hub, cache).catalog
    config = catalog.fetch_config(catalog.find(LORA))
    assert config.read_bytes() == (shelf / BASE / "config.json").read_bytes()
    assert not any(asked.is_transfer and "/whole/" in asked.path for asked in hub.asked)
