"""A model's dimensions from its config, whichever way the config says them."""

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoConfig

from glassformer.loading.dimension import list_dimensions
from glassformer.loading.field import first_number, read_field

GEMMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 300,
    "max_position_embeddings": 256,
    "num_kv_shared_layers": 0,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}


@pytest.mark.parametrize(
    ("changes", "heads", "d_head"),
    [
        ({"global_head_dim": 16}, 2, 16),
        ({"global_head_dim": 8}, 2, 8),
        ({"global_head_dim": 8, "num_global_key_value_heads": 1, "attention_k_eq_v": True}, 2, 8),
        ({"global_head_dim": 16, "num_kv_shared_layers": 2}, 2, 16),
    ],
)
def test_blocks_that_differ_give_their_largest(changes: dict[str, Any], heads: int, d_head: int) -> None:
    config = AutoConfig.for_model("gemma4_text", **{**GEMMA, **changes})
    found = list_dimensions(config)
    assert (found["num_key_value_heads"], found["head_dim"]) == (heads, d_head)
    assert (found["n_embd"], found["n_layer"], found["intermediate_size"]) == (32, 4, 48)


def test_widths_in_a_list() -> None:
    config = AutoConfig.for_model(
        "gemma3n_text", hidden_size=32, num_hidden_layers=4, intermediate_size=[48, 64, 48, 96]
    )
    assert list_dimensions(config)["intermediate_size"] == 96


@pytest.mark.parametrize(
    ("family", "nulls", "expected"),
    [
        ("mistral", {"head_dim": None, "sliding_window": None}, {"head_dim": 8, "num_key_value_heads": 2}),
        ("gpt2", {"n_inner": None}, {"intermediate_size": 128}),
        ("qwen2", {"sliding_window": None, "layer_types": None}, {"head_dim": 8}),
    ],
)
def test_a_null_is_no_number(family: str, nulls: dict[str, Any], expected: dict[str, int]) -> None:
    shape = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2}
    if family == "gpt2":
        shape = {"n_embd": 32, "n_head": 4, "n_layer": 2}
    found = list_dimensions(AutoConfig.for_model(family, **shape, **nulls))
    assert {name: found[name] for name in expected} == expected
    assert all(value for value in found.values() if isinstance(value, int))


def test_fields_that_are_no_numbers() -> None:
    config = SimpleNamespace(flag=True, names=["a", "b"], sizes=[3, 5])
    assert read_field(config, "names") is None
    assert read_field(config, "sizes") == 5
    assert first_number(config, ("nothing", "flag", "names", "sizes")) == 5
    assert first_number(config, ("flag",)) is None
