"""What is loaded, what is refused with which reason, and that reasons never tell where things lie."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_model

from glassformer.errors import BadValue, ModelFailed, ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.loading.config import read_config
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_form, load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.plan import choose_device
from glassformer.loading.room import plan_form
from glassformer.protocol.messages import ChatMessage


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("original") / "tiny", "llama")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def load(folder: Path, **options: Any) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu", **options)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_loaded_model(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.dtype == torch.float32
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.context == 4096
    assert loaded.eos_ids == {1}
    assert loaded.special_ids == {0, 1}
    assert loaded.bytes == 4 * loaded.parameters


def test_number_formats(folder: Path) -> None:
    assert load(folder, dtype="bfloat16").model.dtype == torch.bfloat16
    change(folder / "config.json", dtype="bfloat16")
    assert load(folder).model.dtype == torch.float32  # the default of a CPU


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("family", "tied"), [("llama", False), ("llama", True), ("gpt2", True)])
def test_the_size_is_known_before_loading(tmp_path: Path, family: str, dtype: str, tied: bool) -> None:
    folder = make_model(tmp_path / "sized", family, tie_word_embeddings=tied)
    if tied and family == "llama":  # some files hold the shared table under both names
        tensors = load_file(folder / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    plan = plan_form(LoadOptions("cpu", dtype), open_form(folder))
    assert load(folder, dtype=dtype).bytes == plan.needed_bytes


def test_a_device_map_gives_the_same_model(folder: Path) -> None:
    """The way of several GPUs, on the one device every machine has."""
    plain = load(folder)
    form = open_form(folder)
    plan = plan_form(LoadOptions(device="cpu"), form)
    assert plan.device_map is None
    shares: list[float] = []
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    mapped = load_form(source, form, replace(plan, device_map={"": "cpu"}), on_fraction=shares.append)
    ids = torch.tensor([plain.encode("the quick brown fox")])
    assert torch.equal(plain.model(ids).logits, mapped.model(ids).logits)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_several_devices_share_one_model(folder: Path) -> None:
    """accelerate moves what runs from device to device; here both are the processor, with the hooks in place."""
    form = open_form(folder)
    plan = plan_form(LoadOptions(device="cpu"), form)
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    parts = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    rest = {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    with pytest.raises(ModelFailed):  # nothing is ever spilled to a disk
        load_form(source, form, replace(plan, device_map={**parts, **rest}))


def test_eos_may_be_a_list(folder: Path) -> None:
    change(folder / "generation_config.json", eos_token_id=[1, 5, 9])
    assert load(folder).eos_ids == {1, 5, 9}


def test_sharded_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert load(folder).parameters > 0
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelRefused, match="lacks 1 of its 2"):
        load(folder)


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def escaping_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../x.safetensors"}})
    )


def odd_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": [1]}')


def linked_weights(folder: Path) -> None:
    outside = folder.parent.parent / f"outside-{folder.parent.name}.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)


def missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.0.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled weights only": (no_weights, "safetensors"),
    "no folder": (shutil.rmtree, "folder cannot be read"),
    "no config": (lambda f: (f / "config.json").unlink(), r"no config\.json"),
    "config of nonsense": (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
    "config that is a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "deep config": (lambda f: (f / "config.json").write_text('{"a":' * 50_000), "cannot be read as JSON"),
    "no type": (lambda f: (f / "config.json").write_text("{}"), "model_type"),
    "code": (
        lambda f: change(f / "config.json", auto_map={"AutoModel": "x.Y"}, model_type="of-its-own"),
        "code of its own",
    ),
    "nested code": (
        lambda f: change(f / "config.json", text_config={"auto_map": {"A": "x"}}),
        "code of its own",
    ),
    "tokenizer code": (
        lambda f: (change(f / "tokenizer_config.json", auto_map={"A": "x"}), (f / "tokenizer.json").unlink()),
        "code of its own",
    ),
    "kernel": (lambda f: change(f / "config.json", _attn_implementation="someone/kernel"), "kernel"),
    "kernel of a part": (lambda f: change(f / "config.json", attn_implementation="a/b:c@d"), "kernel"),
    "shards outside": (escaping_shards, "outside its folder"),
    "no weight map": (odd_index, "weight_map"),
    "weights behind a link": (linked_weights, "outside its model directory"),
    "a missing tensor": (missing_tensor, "do not fit the config"),
    "another shape": (
        lambda f: change(f / "config.json", intermediate_size=40),
        "do not fit|could not be loaded",
    ),
    "no text model": (lambda f: change(f / "config.json", model_type="vit"), "does not predict"),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "no tokenizer"),
    "cut weights": (lambda f: (f / "model.safetensors").write_bytes(b"\x10" * 40), "damaged or cut off"),
    "an unknown type": (lambda f: change(f / "config.json", model_type="nonesuch"), "cannot be read"),
    "quantised by a library that is not here": (
        lambda f: change(f / "config.json", quantization_config={"quant_method": "hqq", "nbits": 4}),
        "quantised with 'hqq', which cannot be loaded",
    ),
    "quantised in a way that fetches kernels": (
        lambda f: change(f / "config.json", quantization_config={"quant_method": "eetq"}),
        "cannot be loaded here",
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals(folder: Path, reason: str) -> None:
    spoil, sentence = REFUSALS[reason]
    spoil(folder)
    with pytest.raises((ModelRefused, ModelFailed), match=sentence) as caught:
        load(folder)
    assert str(folder.parent) not in caught.value.message
    assert caught.value.field == "model_id"


def test_reading_a_config_needs_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert read_config(folder / "config.json").hidden_size == 32
    change(folder / "config.json", auto_map={"AutoConfig": "x.Y"}, model_type="of-its-own")
    with pytest.raises(ModelRefused, match="code of its own"):
        read_config(folder / "config.json")


def test_ids_and_chats_that_cannot_be(folder: Path) -> None:
    loaded = load(folder)
    for ids in ([], [-1], [loaded.vocab], [5, 2**40]):
        with pytest.raises(BadValue):
            loaded.check_ids(ids)
    with pytest.raises(BadValue, match="no chat template"):
        loaded.encode_chat([ChatMessage(role="user", content="x")])
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(BadValue, match="refuses these messages: no"):
        load(folder).encode_chat([ChatMessage(role="user", content="x")])
    (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(BadValue, match="fault of its own"):
        load(folder).encode_chat([ChatMessage(role="user", content="x")])
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    assert load(folder).encode_chat([ChatMessage(role="user", content="the fox")]) == loaded.encode("the fox")


def test_tokens_alone(folder: Path) -> None:
    loaded = load(folder)
    ids = loaded.encode("the fox 🎉")
    assert [token.text for token in loaded.tokens(ids)] == [loaded.tokenizer.decode([i]) for i in ids]
    assert loaded.token(0).special
    assert loaded.decode([0, *ids]) == "the fox 🎉"
    assert loaded.decode([0, *ids], keep_special=True) == "<s>the fox 🎉"


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    for name in ("nonesuch", "cuda:99"):
        with pytest.raises(BadValue):
            choose_device(name)
