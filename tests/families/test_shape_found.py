"""Parts of models whose names nobody taught: found by what they hold, whatever they are called."""

import warnings
from typing import Any

import pytest
import torch
from building import build, make_prompt
from measuring import NoTokenizer, record
from torch import nn
from transformers import PreTrainedModel

from glassformer.anatomy.checkup import build_anatomy
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.reading.parts import BENT, add_up_parts
from glassformer.reading.position import PositionRows, read_position
from glassformer.structure.shape_found import find_frame, find_sublayers


def make(family: str) -> PreTrainedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(family)


def load(family: str) -> LoadedModel:
    tokenizer: Any = NoTokenizer()
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), make(family), tokenizer)
    loaded.anatomy = build_anatomy(loaded)
    return loaded


def name_of(model: nn.Module, part: nn.Module | None) -> str | None:
    return next((name for name, module in model.named_modules() if module is part), None)


@pytest.mark.parametrize(
    ("family", "norm"),
    [
        ("bert", None),
        ("roberta-prelayernorm", "roberta_prelayernorm.LayerNorm"),
        ("xlm-roberta-xl", "roberta.encoder.LayerNorm"),
        ("git", None),
        ("ctrl", "transformer.layernorm"),
    ],
)
def test_the_frame_is_what_stands_around_the_blocks(family: str, norm: str | None) -> None:
    model = make(family)
    frame = find_frame(model)
    assert frame is not None
    assert name_of(model, frame.norm) == norm
    assert len(frame.blocks) == 4
    # A tower of pictures has blocks with attention too.
    assert "image" not in str(name_of(model, frame.blocks))
    assert frame.head is model.get_output_embeddings()


def test_the_parts_of_a_block_are_found_whatever_they_are_called() -> None:
    model = make("bert")
    block = model.get_submodule("bert.encoder.layer.1")
    wanted = {
        "attention": "bert.encoder.layer.1.attention.self",
        "mixing": "bert.encoder.layer.1.attention",
        "out": "bert.encoder.layer.1.attention.output.dense",
        "up": "bert.encoder.layer.1.intermediate.dense",
        "down": "bert.encoder.layer.1.output.dense",
        "activation": "bert.encoder.layer.1.intermediate.intermediate_act_fn",
    }
    modules = {role: model.get_submodule(name) for role, name in wanted.items()}
    for holder in list(block.modules()):
        for at, name in enumerate(list(holder._modules)):
            if name not in ("query", "key", "value"):
                holder._modules[f"part{at}"] = holder._modules.pop(name)
            else:
                holder._modules[name] = holder._modules.pop(name)
    found = find_sublayers(block)
    assert found is not None
    assert {role: getattr(found, role) for role in wanted} == modules


def test_two_lists_of_blocks_are_none() -> None:
    model = make("bert")
    model.base_model.second = nn.ModuleList(make("bert").base_model.encoder.layer)
    assert find_frame(model) is None


def test_an_activation_before_the_head_is_told_where_parts_are_asked_for() -> None:
    """Not what is untrue: how the logits are computed is known, and is shown."""
    loaded = load("roberta")
    run = record(loaded, make_prompt(12))
    site = run.find_site("lm_head")
    assert site is not None
    assert site.check.status != "refused"
    parts = add_up_parts(run, PositionRows(7, torch.zeros(5, 32)), 9, "none")
    assert [refused.reason for refused in parts.refused] == [BENT]


@pytest.mark.parametrize(
    ("family", "layout"), [("bloom", 1), ("openai-gpt", 0), ("gpt_neo", 0), ("falcon", None)]
)
def test_values_that_the_tap_does_not_see_are_those_that_are_mixed(family: str, layout: int | None) -> None:
    """Queries, keys and values take turns in Bloom's weight and follow each other in the first GPT's."""
    loaded = load(family)
    assert loaded.structure.untapped is not None
    assert loaded.structure.value_layout == layout
    run = record(loaded, make_prompt(12))
    site = run.find_site("v.1")
    assert site is not None
    if layout is None:
        assert site.check.status == "refused"
        return
    probs, v, z = (torch.from_numpy(run.read(f"{point}.1").copy()) for point in ("attn_probs", "v", "z"))
    torch.testing.assert_close(probs @ v, z)
    parts = add_up_parts(run, read_position(run, 7), 9, "none")
    assert not parts.refused
    assert sum(parts.values.values()) == pytest.approx(float(run.read_logits(7)[9]), abs=1e-5)
