"""LoRA adapters: found with their base, laid over it without a copy, and equal to what peft itself computes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import make_adapter, read_plainly
from safetensors.torch import load_file, save_file
from test_tower import make_whole
from tiny import make_model

from glassformer.errors import ModelRefused, UnknownModel
from glassformer.files.catalog import Catalog
from glassformer.loading.adapter import load_adapter
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.registry.registry import Registry

# Attention with a parameter of its own beside the linear maps.
SINKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
IDS = torch.tensor([[5, 9, 41, 7, 3, 12]])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models").resolve()
    make_model(root / "llama", "llama")
    make_model(root / "gpt2", "gpt2")
    make_model(root / "gpt_oss", "gpt_oss", **SINKS)
    return root


@pytest.fixture
def place(root: Path, tmp_path: Path) -> Path:
    """A folder for adapters beside a base of its own."""
    shutil.copytree(root / "llama", tmp_path / "llama")
    return tmp_path.resolve()


def open_base(root: Path, name: str) -> LoadedModel:
    return load_model(Catalog([root]).find(name), root / name, device="cpu")


def lay(root: Path, name: str, base: LoadedModel) -> LoadedModel:
    source = Catalog([root]).find(name)
    assert source.folder is not None
    return load_adapter(source, source.folder, base)


@torch.inference_mode()
def logits_of(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


# Each as peft's own LoraConfig takes it.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of names": ("llama", {"target_modules": ["q_proj", "v_proj"]}),
    "every linear map": ("llama", {"target_modules": "all-linear"}),
    "a pattern": ("llama", {"target_modules": r".*layers\.1\..*(up|down)_proj"}),
    "some blocks": ("llama", {"target_modules": ["o_proj"], "layers_to_transform": [1]}),
    "the scale of rank-stabilised LoRA": ("llama", {"target_modules": ["k_proj"], "use_rslora": True}),
    "ranks and alphas by pattern": (
        "llama",
        {
            "target_modules": ["q_proj", "up_proj"],
            "rank_pattern": {"q_proj": 2, r".*layers\.(?:1|\d\d+)\.mlp\..*up_proj": 6},
            "alpha_pattern": {"up_proj": 32},
        },
    ),
    "a bias in B": ("llama", {"target_modules": ["q_proj"], "lora_bias": True}),
    "modules saved whole": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "a saved norm": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]}),
    "a module saved whole, with what it holds": (
        "gpt_oss",
        {"target_modules": r".*layers\.0\.self_attn\.q_proj", "modules_to_save": ["layers.1.self_attn"]},
    ),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_fc", "c_proj"], "fan_in_fan_out": True}),
    "all biases": ("gpt2", {"target_modules": ["c_attn"], "bias": "all", "fan_in_fan_out": True}),
    "biases of what it changes": (
        "gpt2",
        {"target_modules": ["c_fc"], "bias": "lora_only", "fan_in_fan_out": True},
    ),
}


@pytest.mark.filterwarnings("ignore")  # of what peft itself uses
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_peft(root: Path, tmp_path: Path, kind: str) -> None:
    """What peft trains and saves, and its own forward of it; the base's logits stay as they are."""
    peft = pytest.importorskip("peft")
    family, config = KINDS[kind]
    model = peft.get_peft_model(
        read_plainly(root / family), peft.LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **config)
    )
    shake(model)
    model.save_pretrained(tmp_path / "over")
    referee = peft.PeftModel.from_pretrained(read_plainly(root / family), tmp_path / "over").eval()
    base = open_base(root, family)
    before = logits_of(base.model)
    shutil.copytree(root / family, tmp_path / family)
    loaded = lay(tmp_path.resolve(), "over", base)
    found, wanted = logits_of(loaded.model), logits_of(referee)
    assert (wanted - before).abs().max() > 1e-2
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits_of(base.model), before)


# What peft changes of a whole model that reads pictures too, and whether something of it is for those.
IN_A_WHOLE: dict[str, tuple[dict[str, Any], bool]] = {
    "the same maps everywhere": ({"target_modules": ["q_proj", "v_proj"]}, True),
    "its language model": ({"target_modules": r".*language_model.*\.(o|down)_proj"}, False),
    "and parts saved whole": (
        {"target_modules": ["k_proj"], "modules_to_save": ["lm_head", "multi_modal_projector"]},
        True,
    ),
}


def shake(model: Any) -> None:
    """Move what an adapter trains off where it begins."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def name_as_before(folder: Path) -> None:
    """As transformers named the parts of such models before its fifth version."""
    rename(folder, "model.model.language_model.", "model.language_model.model.")
    rename(folder, "model.model.vision_tower.", "model.vision_tower.")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("family", ["mistral3", "llava"])
@pytest.mark.parametrize("kind", IN_A_WHOLE)
def test_an_adapter_for_a_whole_model_changes_its_language_model(
    tmp_path: Path, family: str, kind: str, is_old: bool
) -> None:
    """Both have maps of the same names and numbers; those for pictures are told to be left aside."""
    peft = pytest.importorskip("peft")
    config, is_for_pictures = IN_A_WHOLE[kind]
    place = tmp_path.resolve()
    whole = make_whole(place / "whole", family)
    over = peft.get_peft_model(whole, peft.LoraConfig(r=4, lora_alpha=8, **config)).eval()
    shake(over)
    over.save_pretrained(place / "over")
    if is_old:
        name_as_before(place / "over")
    base = open_base(place, "whole")
    before = logits_of(base.model)
    loaded = lay(place, "whole+over", base)
    wanted = logits_of(over)
    assert (wanted - before).abs().max() > 1e-2
    torch.testing.assert_close(logits_of(loaded.model), wanted, atol=1e-5, rtol=1e-5)
    assert ("adapter also changes parts that pictures" in loaded.note) == is_for_pictures


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_for_pictures_alone_is_refused(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    place = tmp_path.resolve()
    config = peft.LoraConfig(r=4, target_modules=r".*vision_tower.*q_proj")
    peft.get_peft_model(make_whole(place / "whole"), config).save_pretrained(place / "over")
    with pytest.raises(ModelRefused, match="only parts that pictures or sound go through"):
        lay(place, "whole+over", open_base(place, "whole"))


def test_nothing_of_the_base_is_copied(place: Path) -> None:
    make_adapter(place / "llama", place / "over")
    base = open_base(place, "llama")
    loaded = lay(place, "over", base)
    own = {name: parameter.data_ptr() for name, parameter in loaded.model.named_parameters()}
    for name, parameter in base.model.named_parameters():
        assert own.pop(name) == parameter.data_ptr()
    assert own
    assert all(".lora_" in name for name in own)
    assert loaded.bytes < base.bytes / 4
    assert loaded.lock is base.lock


def test_the_base_is_found_beside_the_adapter(place: Path) -> None:
    make_adapter(place / "llama", place / "over")
    make_adapter(place / "llama", place / "named", base_model_name_or_path="someone/llama")
    catalog = Catalog([place])
    for name, model_id in (("over", "llama+over"), ("named", "llama+named"), ("llama+over", "llama+over")):
        source = catalog.find(name)
        assert source.model_id == model_id
        assert source.base is not None
        assert source.base.folder == place / "llama"
    offered = {source.model_id for source in catalog.list()}
    assert {"llama", "llama+over", "llama+named"} <= offered


def test_a_base_that_is_not_here_is_asked_of_the_hub(place: Path) -> None:
    make_adapter(place / "llama", place / "over", base_model_name_or_path="someone/else-7b")
    base = Catalog([place]).find("over").base
    assert base is not None
    assert (base.kind, base.repo) == ("hub", "someone/else-7b")
    registry = Registry(Catalog([place], offline=True, hub_cache=place / "cache"), device="cpu")
    with pytest.raises(UnknownModel, match=r"adapter over a model that is not here.*'someone/else-7b'"):
        registry.load("over").result(60)


def test_a_base_that_is_nowhere_is_named_without_its_path(place: Path) -> None:
    make_adapter(place / "llama", place / "over", base_model_name_or_path="/home/somebody/secret/gone")
    with pytest.raises(UnknownModel, match="adapter for 'gone', which is not here") as caught:
        Catalog([place]).find("over")
    assert "secret" not in caught.value.message
    # Another base may be named outright.
    assert Catalog([place]).find("llama+over").model_id == "llama+over"


@pytest.mark.parametrize("weights", [[], ["adapter_model.safetensors"]])
def test_a_whole_model_with_adapter_files_is_what_it_is(place: Path, weights: list[str]) -> None:
    """Whether peft is installed or not: transformers would lay the adapter over it once more."""
    make_adapter(place / "llama", place / "over")
    for name in ["adapter_config.json", *weights]:
        shutil.copy(place / "over" / name, place / "llama")
    source = Catalog([place]).find("llama")
    assert source.base is None
    loaded = load_model(source, place / "llama", device="cpu")
    (place / "llama" / "adapter_config.json").unlink()
    assert torch.equal(logits_of(loaded.model), logits_of(read_plainly(place / "llama")))
    assert "merged model" in loaded.note


def damage(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\x10" * 40)


def rename(folder: Path, old: str, new: str) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(
        {key.replace(old, new): value for key, value in tensors.items()}, folder / "adapter_model.safetensors"
    )


def say(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        said = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**said, **changes}))

    return change


REFUSALS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "DoRA": (say(use_dora=True), r"use_dora.*scales each output feature"),
    "IA3": (say(peft_type="IA3"), "'IA3'.*multiplies features"),
    "LoHa": (say(peft_type="LOHA"), "'LOHA'.*cell by cell"),
    "VeRA": (say(peft_type="VERA"), "'VERA'.*random matrices"),
    "prompts": (say(peft_type="PROMPT_TUNING"), "before the text"),
    "no kind": (say(peft_type=None), "no kind"),
    "what nobody knows yet": (say(use_future=True), "use_future"),
    "PiSSA": (say(init_lora_weights="pissa_niter_4"), "a base that was changed for it"),
    "single tokens": (say(trainable_token_indices=[1]), "single rows"),
    "experts": (say(target_parameters=["mlp.experts"]), "stacked weights of experts"),
    "another rank": (say(r=2), "says rank 2 .* have 4"),
    "no alpha": (say(lora_alpha="much"), "lora_alpha is not a positive number"),
    "an endless pattern": (say(alpha_pattern={"(a+)+b": 2}), "repeats a group"),
    "a pattern of many parts": (say(alpha_pattern={".*.*.*.*.*.*.*x": 2}), "more than 2 parts"),
    "a pattern of many letters": (say(rank_pattern={"a?" * 30 + "a" * 30: 2}), "more than 2 parts"),
    "a long pattern": (say(rank_pattern={"a" * 501: 2}), "longer than 500 characters"),
    "code": (say(auto_map={"A": "x"}), "code of its own"),
    "damaged weights": (damage, "damaged or cut off"),
    "half a change": (
        lambda f: rename(f, "1.self_attn.q_proj.lora_A", "1.self_attn.k_proj.lora_A"),
        "lacks a part",
    ),
    "a module that is not there": (lambda f: rename(f, "q_proj", "query"), "for another base: it changes"),
    "a norm": (lambda f: rename(f, "self_attn.q_proj", "input_layernorm"), "no linear map"),
    "pickled weights": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        "can carry code",
    ),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no adapter_model"),
}


MERGED: dict[str, tuple[str, dict[str, Any]]] = {
    "DoRA": ("LoraConfig", {"use_dora": True}),
    "LoHa": ("LoHaConfig", {}),
    "LoKr": ("LoKrConfig", {}),
    "IA3": ("IA3Config", {"feedforward_modules": []}),
    "AdaLoRA": ("AdaLoraConfig", {"total_step": 10}),
    "VeRA": ("VeraConfig", {}),
    "OFT": ("OFTConfig", {"r": 0, "oft_block_size": 4}),
    "BOFT": ("BOFTConfig", {"boft_block_size": 4}),
    "HRA": ("HRAConfig", {}),
    "LN_TUNING": ("LNTuningConfig", {"target_modules": ["input_layernorm"]}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MERGED)
def test_what_is_refused_opens_as_the_refusal_says(place: Path, base: LoadedModel, kind: str) -> None:
    """Merged by peft, saved, and opened."""
    peft = pytest.importorskip("peft")
    name, config = MERGED[kind]
    chosen = getattr(peft, name)(**{"target_modules": ["q_proj", "v_proj"], **config})
    over = peft.get_peft_model(read_plainly(place / "llama"), chosen).eval()
    shake(over)
    over.save_pretrained(place / "over")
    with pytest.raises(ModelRefused, match="Merged into its base"):
        lay(place, "llama+over", base)
    wanted = logits_of(over)
    assert (wanted - logits_of(base.model)).abs().max() > 1e-3
    shutil.copytree(place / "llama", place / "merged")
    over.merge_and_unload().save_pretrained(place / "merged")
    torch.testing.assert_close(logits_of(open_base(place, "merged").model), wanted, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def base(root: Path) -> LoadedModel:
    return open_base(root, "llama")


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals(place: Path, base: LoadedModel, reason: str) -> None:
    spoil, sentence = REFUSALS[reason]
    make_adapter(place / "llama", place / "over")
    spoil(place / "over")
    with pytest.raises(ModelRefused, match=sentence) as caught:
        lay(place, "over", base)
    assert str(place) not in caught.value.message


def test_an_adapter_for_another_base_is_one_sentence(root: Path, place: Path) -> None:
    make_model(place / "wide", "llama", hidden_size=48, num_attention_heads=4, num_key_value_heads=2)
    make_adapter(place / "wide", place / "over")
    with pytest.raises(ModelRefused, match=r"another base than 'llama'.* 48 x 56, which is 32 x 56 here"):
        lay(place, "over", open_base(root, "llama"))
