"""Configs as earlier releases and other programs wrote them: read as they were meant, or refused by what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_model

from glassformer.anatomy.checkup import build_anatomy
from glassformer.errors import ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.config import read_config
from glassformer.loading.config_repair import repair_config
from glassformer.loading.dimension import list_dimensions
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import list_sites

IDS = torch.arange(2, 30)[None]
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 4},
    "mistral": {**SHAPE, "num_key_value_heads": 4, "sliding_window": None},
    "mixtral": {**SHAPE, "num_key_value_heads": 4, "num_local_experts": 4, "sliding_window": None},
    "qwen2": {**SHAPE, "num_key_value_heads": 4},
    "gemma2": {**SHAPE, "num_key_value_heads": 4, "head_dim": 8, "query_pre_attn_scalar": 256},
    "gpt2": {},
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    for family, shape in FAMILIES.items():
        make_model(root / family, family, **shape)
    return root


@pytest.fixture
def llama(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / "llama", tmp_path / "llama"))


def load(folder: Path) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu")


def logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = load(folder).model(IDS).logits
    return found


def change(folder: Path, *dropped: str, **values: Any) -> Path:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in config.items() if key not in dropped}))
    return folder


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("llama", "num_key_value_heads head_dim rope_scaling hidden_act max_position_embeddings use_cache"),
        ("mistral", "num_key_value_heads head_dim sliding_window layer_types rope_scaling rms_norm_eps"),
        ("mixtral", "num_key_value_heads head_dim sliding_window router_jitter_noise attention_dropout"),
        (
            "qwen2",
            "num_key_value_heads head_dim sliding_window use_sliding_window layer_types quantization_config",
        ),
        ("gemma2", "head_dim attention_bias initializer_range"),
        ("gpt2", "n_inner pad_token_id scale_attn_weights attn_pdrop"),
    ],
)
def test_a_null_says_nothing(originals: Path, tmp_path: Path, family: str, keys: str) -> None:
    folder = Path(shutil.copytree(originals / family, tmp_path / family))
    change(folder, **dict.fromkeys(keys.split()))
    assert torch.equal(logits(folder), logits(originals / family))
    found, expected = (
        list_dimensions(read_config(place / "config.json")) for place in (folder, originals / family)
    )
    differing = {key for key in found if found[key] != expected[key]}
    assert differing <= ({"max_position_embeddings", "block_size"} if "max_position" in keys else set())
    assert all(found[key] for key in ("head_dim", "num_key_value_heads", "intermediate_size", "block_size"))


def test_a_null_that_means_something_stays() -> None:
    assert repair_config({"model_type": "mistral", "sliding_window": None})["sliding_window"] is None


def test_what_is_as_today_is_left_alone(originals: Path) -> None:
    for family in FAMILIES:
        raw = json.loads((originals / family / "config.json").read_text())
        assert repair_config(raw) == raw


def make_pruned(folder: Path) -> Path:
    """5 heads of 8 features beside a width of 36."""
    shape = {"hidden_size": 40, "num_attention_heads": 5, "head_dim": 8, "num_key_value_heads": 1}
    change(make_model(folder, "llama", **shape), hidden_size=36)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        columns = 36 if tensor.shape[-1] == 40 and "o_proj" not in name else None
        rows = 36 if "o_proj" in name or "down_proj" in name else None
        tensors[name] = (tensor[:rows, :columns] if tensor.dim() == 2 else tensor[:columns]).contiguous()
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_heads_need_not_divide_the_width(tmp_path: Path) -> None:
    folder = make_pruned(tmp_path / "pruned")
    loaded = load(folder)
    assert list_dimensions(loaded.config)["head_dim"] == 8
    sites = list_sites(build_anatomy(loaded, None))
    assert sites["z.0"].shape == [5, None, 8]
    assert sites["attn_out.0"].shape == [None, 36]
    assert {site.check.status for site in sites.values()} <= {"exact", "close"}
    # The check is off for that one config alone.
    change(folder, "head_dim")
    with pytest.raises(ModelFailed, match="not a multiple of the number of attention heads"):
        load(folder)


@pytest.mark.parametrize("sized", [40, 32])
def test_heads_of_another_width_than_their_share(tmp_path: Path, sized: int) -> None:
    folder = make_model(tmp_path / "wide", "llama", hidden_size=sized, num_attention_heads=4, head_dim=16)
    loaded = load(folder)
    assert list_dimensions(loaded.config)["head_dim"] == 16
    sites = list_sites(build_anatomy(loaded, None))
    assert sites["z.1"].shape == [4, None, 16]
    assert {site.check.status for site in sites.values()} <= {"exact", "close"}


FACTORS = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        ({"type": "su", **FACTORS}, {"rope_type": "longrope", **FACTORS}),
        ({"type": "mrope", "mrope_section": [1, 1, 2]}, {"rope_type": "default"}),
        ({"type": "dynamic", "factor": 2.0}, {"rope_type": "dynamic", "factor": 2.0}),
    ],
)
def test_old_rotary_embeddings_are_todays(
    llama: Path, tmp_path: Path, old: dict[str, Any], new: dict[str, Any]
) -> None:
    today = Path(shutil.copytree(llama, tmp_path / "today"))
    limit = {"max_position_embeddings": 64, "original_max_position_embeddings": 16}
    change(llama, "rope_parameters", rope_scaling=old, rope_theta=500.0, **limit)
    change(today, rope_parameters={**new, "rope_theta": 500.0}, **limit)
    assert torch.equal(logits(llama), logits(today))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a family of nobody's, with odd numbers": (
        lambda folder: change(folder, model_type="nonesuch", hidden_size=36, num_attention_heads=5),
        "does not recognize this architecture",
    ),
    "a rotary embedding of nobody's": (
        lambda folder: change(folder, rope_parameters=None, rope_scaling={"type": "ntk", "factor": 2.0}),
        "rotary embedding is of the kind 'ntk' .* knows dynamic, linear",
    ),
    "other numbers of heads": (
        lambda folder: change(folder, num_key_value_heads=1),
        r"4 are missing or misshapen, first 'model\.layers\.0\.self_attn\.k_proj\.weight', "
        "which is 32 x 32 in the files and 8 x 32 by the config",
    ),
    "names of another program": (
        lambda folder: save_file(
            {
                name.removeprefix("model.").replace("self_attn.q_proj", "attention.wq"): tensor
                for name, tensor in load_file(folder / "model.safetensors").items()
            },
            folder / "model.safetensors",
        ),
        r"first 'model\.layers\.0\.self_attn\.q_proj\.weight' \(the files have 'layers\.0\.attention\.wq",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_named(llama: Path, what: str) -> None:
    spoil, sentence = REFUSED[what]
    spoil(llama)
    with pytest.raises((ModelRefused, ModelFailed), match=sentence):
        load(llama)


@pytest.mark.parametrize("pad", [32_000, -1])
def test_a_padding_token_that_is_none_is_not_missed(originals: Path, llama: Path, pad: int) -> None:
    expected = logits(originals / "llama")
    assert torch.equal(logits(change(llama, pad_token_id=pad)), expected)
