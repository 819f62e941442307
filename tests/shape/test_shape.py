"""Shapes against whole models: those that transformers builds on `meta`, published totals, and loaded tiny ones."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from glassformer.anatomy.checkup import Checkup
from glassformer.bundled.shape import SHAPES
from glassformer.errors import GlassformerError, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.protocol.anatomy import Anatomy, list_sites
from glassformer.protocol.shape import ModelShape
from glassformer.shape import skeleton
from glassformer.shape.shape import describe_shape, expand_shape
from glassformer.structure.structure import Structure

sys.path.insert(0, str(Path(__file__).parents[1]))
from families.building import build

# What a token passes through, as published; where the makers say so.
ACTIVE = {"mixtral-8x7b": 12.9e9, "deepseek-v3-671b": 37e9}
# Of latent attention: the compressed keys and values and the shared rotary key of 61 blocks, as published.
LATENT = {"deepseek-v3-671b": 61 * (512 + 64)}
# One of each kind of blocks: plain, parallel, fused, soft-capped, experts, latent, states, convolutions, no attention.
FAMILIES = [
    "llama",
    "gpt2",
    "gpt_neox",
    "phi3",
    "gemma2",
    "mixtral",
    "deepseek_v3",
    "qwen3_next",
    "gpt_oss",
    "mamba2",
    "lfm2",
    "bloom",
]


class NoTokenizer:
    """Stands where no text is read."""

    all_special_ids: tuple[int, ...] = ()
    eos_token_id = None
    chat_template = None


def sum_parts(shape: ModelShape) -> int:
    inside = sum(
        part.parameters * len(template.blocks) for template in shape.templates for part in template.parts
    )
    return inside + sum(part.parameters for part in shape.parts)


@pytest.mark.parametrize("name", SHAPES)
def test_a_bundled_shape_has_the_published_size(name: str) -> None:
    bundled = SHAPES[name]
    shape = describe_shape(bundled.config, name, title=bundled.title, source="bundled")
    config = AutoConfig.from_pretrained(bundled.config)
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        whole = auto.from_config(config)
    assert shape.anatomy.parameters == sum(parameter.numel() for parameter in whole.parameters())
    assert sum_parts(shape) == shape.anatomy.parameters
    assert shape.anatomy.parameters == pytest.approx(bundled.parameters, rel=0.01)
    assert shape.active == pytest.approx(ACTIVE.get(name, shape.active), rel=0.02)
    assert shape.anatomy.refused is None
    assert shape.latent == LATENT.get(name)
    # Blocks stand in few templates, and experts are no list of hundreds of weights.
    assert len(shape.templates) <= 2
    assert sorted(number for template in shape.templates for number in template.blocks) == list(
        range(config.num_hidden_layers)
    )
    assert len(shape.model_dump_json()) < 25_000


def test_gpt2_has_its_real_size() -> None:
    shape = describe_shape(SHAPES["gpt2"].config, "gpt2")
    assert shape.anatomy.parameters == 124_439_808
    # Keys and values of 12 blocks, 768 numbers each.
    assert shape.cached == 2 * 12 * 768
    (template,) = shape.templates
    assert {part.kind: part.parameters for part in template.parts} == {
        "attention": 768 * 3 * 768 + 3 * 768 + 768 * 768 + 768,
        "mlp": 2 * 768 * 3072 + 3072 + 768,
        "norm": 4 * 768,
    }


def describe_sites(anatomy: Anatomy) -> dict[str, tuple[tuple[str, ...], tuple[int | None, ...]]]:
    return {address: (tuple(site.axes), tuple(site.shape)) for address, site in list_sites(anatomy).items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_is_that_of_the_loaded_model(family: str, tmp_path: Path) -> None:
    model = build(family)
    model.config.save_pretrained(tmp_path)
    tokenizer: Any = NoTokenizer()
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model.eval(), tokenizer)
    real = Checkup(loaded).survey()
    assert real is not None
    shape = describe_shape(tmp_path / "config.json", family)
    drawn = expand_shape(shape)
    assert describe_sites(drawn) == describe_sites(real)
    assert [
        (weight.name, weight.role, weight.axes, weight.shape)
        for block in drawn.blocks
        for weight in block.weights
    ] == [
        (weight.name, weight.role, weight.axes, weight.shape)
        for block in real.blocks
        for weight in block.weights
    ]
    facts = {"index", "kind", "parallel", "heads", "kv_heads", "d_head", "d_mlp", "gated", "window"}
    assert [block.model_dump(include=facts) for block in drawn.blocks] == [
        block.model_dump(include=facts) for block in real.blocks
    ]
    assert drawn.parameters == real.parameters == sum_parts(shape)
    assert drawn.dimensions == real.dimensions
    statuses = {site.check.status for site in list_sites(drawn).values()}
    assert "shape" in statuses
    assert statuses <= {"shape", "refused"}


def write_config(folder: Path, **changes: Any) -> Path:
    config = json.loads(SHAPES["llama3-8b"].config.read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; a model is read up to 512"),
        ({"hidden_size": 2**40}, "hidden_size is"),
        ({"vocab_size": 2**62}, "vocab_size is"),
        ({"model_type": "mixtral", "num_local_experts": 10**7}, "num_local_experts is"),
        ({"text_config": {"intermediate_size": 2**50}}, "intermediate_size is"),
        ({"num_hidden_layers": float("inf")}, "num_hidden_layers is"),
        ({"num_attention_heads": 0}, "No model can be made|cannot be read"),
        ({"hidden_size": "wide"}, "No model can be made|cannot be read"),
        ({"model_type": "bert"}, "encoder"),
        ({"model_type": "t5"}, "encoder-decoder|does not predict"),
        ({"model_type": "nothing_like_it"}, "cannot be read"),
        ({"auto_map": {"AutoConfig": "x.Y"}, "model_type": "own"}, "code of its own"),
    ],
)
def test_a_config_that_describes_no_model_is_told(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(GlassformerError, match=sentence) as caught:
        describe_shape(write_config(tmp_path, **changes), "mine")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("count", [0, -1])
def test_a_model_without_blocks_has_its_size(count: int, tmp_path: Path) -> None:
    shape = describe_shape(write_config(tmp_path, num_hidden_layers=count), "mine")
    assert shape.anatomy.refused == "it has no blocks"
    assert shape.anatomy.parameters == (2 * 128_256 + 1) * 4096
    assert shape.templates == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "cannot be read as JSON"), ("[1]", "not a JSON object"), (" " * 2**21, "larger than 1 MiB")],
)
def test_a_file_that_is_no_config_is_told(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelRefused, match=sentence):
        describe_shape(tmp_path / "config.json", "mine")


def test_what_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skeleton, "MOST_SECS", 0.0)
    with pytest.raises(ModelRefused, match="takes longer than"):
        describe_shape(write_config(tmp_path), "mine")
    # The next one is drawn.
    monkeypatch.undo()
    assert describe_shape(write_config(tmp_path), "mine").anatomy.parameters == 8_030_261_248


@pytest.mark.parametrize("changes", [{"architectures": 3}, {}])
def test_what_cannot_be_told_apart_has_its_size(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("some family's own")

    if not changes:
        monkeypatch.setattr(Structure, "norms", fail)
    shape = describe_shape(write_config(tmp_path, **changes), "mine")
    assert shape.anatomy.refused == "what its blocks are made of cannot be told from its config"
    assert shape.anatomy.parameters == 8_030_261_248
