"""Weights as people have them: in other files, in parts without an index, under names that training left."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_model, read_model

from glassformer.errors import ModelRefused
from glassformer.files.catalog import ModelSource
from glassformer.files.weight_files import CONVERSION
from glassformer.loading.form.recognise import open_form
from glassformer.loading.load import load_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.options import LoadOptions
from glassformer.loading.room import plan_form

WEIGHTS = "model.safetensors"
IDS = torch.arange(2, 12)[None]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("original") / "tiny", "llama")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tiny"))


def load(folder: Path, **options: str) -> LoadedModel:
    source = ModelSource(model_id="tiny", kind="folder", folder=folder, root=folder.parent)
    return load_model(source, folder, device="cpu", **options)


def logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = load(folder).model(IDS).logits
    return found


def rename(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / WEIGHTS).rename(folder / name)


def split(pattern: str, *, kept: int = 2) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        for part in range(kept):
            held = {name: tensors[name] for name in sorted(tensors)[part::2]}
            save_file(held, folder / pattern.format(part + 1))

    return change


def name_tensors(new_name: Callable[[str], str]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        save_file({new_name(name): tensor for name, tensor in tensors.items()}, folder / WEIGHTS)

    return change


SERVED: dict[str, Callable[[Path], object]] = {
    "Mistral's file name": rename("consolidated.safetensors"),
    "a format's file name": rename("model.fp16.safetensors"),
    "a file name of one's own": rename("my best model.safetensors"),
    "an adapter beside it": lambda folder: (
        rename("weights.safetensors")(folder),
        (folder / "adapter_model.safetensors").write_bytes(b"of another model"),
    ),
    "parts without an index": split("model-{:05}-of-00002.safetensors"),
    "parts of another name": split("weights-{}-of-2.safetensors"),
    "parts beside Mistral's file": lambda folder: (
        split("model-{:05}-of-00002.safetensors")(folder),
        (folder / "consolidated.safetensors").write_bytes(b"the same once more"),
    ),
    "no metadata": lambda folder: save_file(load_file(folder / WEIGHTS), folder / WEIGHTS),
    "metadata of MLX": lambda folder: save_file(
        load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"format": "mlx"}
    ),
    "compiled": name_tensors("_orig_mod.{}".format),
    "compiled inside": name_tensors(lambda name: name.replace("model.", "model._orig_mod.", 1)),
    "trained in company": name_tensors("module.{}".format),
    "compiled and trained in company": name_tensors("module._orig_mod.{}".format),
    "a state of 16 bits beside it": lambda folder: (folder / "optimizer.pt").write_bytes(b"of training"),
}


@pytest.mark.parametrize("how", SERVED)
def test_the_same_model_is_read(folder: Path, original: Path, how: str) -> None:
    """With the memory that was counted before; transformers alone refuses most of these, or makes weights up."""
    SERVED[how](folder)
    expected = read_model(original)(IDS).logits
    assert torch.equal(logits(folder), expected)
    assert load(folder).bytes == plan_form(LoadOptions("cpu"), open_form(folder)).needed_bytes


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("family", ["mixtral", "gpt2"])
def test_what_is_made_of_weights_on_reading_is_made_of_these_too(
    tmp_path: Path, family: str, quantize: str
) -> None:
    """Experts that are put together, and maps that are quantised."""
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = {**shape, "num_key_value_heads": 2, "num_local_experts": 4} if family == "mixtral" else {}
    plain = make_model(tmp_path / "plain", family, **shape)
    other = Path(shutil.copytree(plain, tmp_path / "other"))
    name_tensors("module._orig_mod.{}".format)(other)
    rename("weights.safetensors")(other)
    if family == "gpt2" and quantize == "int8":
        with pytest.raises(ModelRefused, match="finds nothing to make smaller"):
            load(other, quantize=quantize)
        return
    found, expected = load(other, quantize=quantize), load(plain, quantize=quantize)
    with torch.inference_mode():
        assert torch.equal(found.model(IDS).logits, expected.model(IDS).logits)
    assert found.bytes == expected.bytes


def test_what_lies_beside_other_weights_counts_as_well(folder: Path) -> None:
    rename("weights.safetensors")(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 7]}))
    assert load(folder).eos_ids == {1, 7}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": None}))
    tensors = load_file(folder / "weights.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(halves, folder / "weights.safetensors")
    assert load(folder, dtype="bfloat16").model.dtype == torch.bfloat16


def remove_one(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file({f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, folder / WEIGHTS)


def make_two(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "a.safetensors")
    rename("b.safetensors")(folder)


def collide(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["_orig_mod.lm_head.weight"] = tensors["lm_head.weight"] + 1
    del tensors["model.norm.weight"]
    save_file(tensors, folder / WEIGHTS)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a weight less": (
        remove_one,
        r"1 are missing or misshapen, first 'model\.layers\.0\.mlp\.up_proj\.weight'",
    ),
    "a part less": (split("model-{:05}-of-00002.safetensors", kept=1), "lacks 1 of its 2 weight files"),
    "two whole sets": (make_two, r"2 sets of weights and no index .* a\.safetensors, b\.safetensors\."),
    "two of one name": (collide, "1 are missing"),
    "pickled": (
        rename("pytorch_model.bin"),
        r"pickled \(pytorch_model\.bin\).*In its folder this writes them",
    ),
    "pickled in parts": (rename("pytorch_model-00001-of-00002.bin"), "In its folder this writes them"),
    "Meta's own": (
        rename("consolidated.00.pth"),
        r"pickled \(consolidated\.00\.pth\).*A copy of them in safetensors",
    ),
    "TensorFlow's": (rename("tf_model.h5"), r"no safetensors weights; those in tf_model\.h5 are not read"),
    "only Trainer's states": (
        rename("training_args.bin"),
        r"no safetensors weights\.$",
    ),
    "weights that Git LFS left out": (
        lambda folder: (folder / WEIGHTS).write_text(POINTER),
        r"model\.safetensors is a Git LFS pointer .* 'git lfs pull'",
    ),
    "a tokenizer that Git LFS left out": (
        lambda folder: (folder / "tokenizer.json").write_text(POINTER),
        r"tokenizer\.json is a Git LFS pointer",
    ),
    "a config that Git LFS left out": (
        lambda folder: (folder / "config.json").write_text(POINTER),
        r"config\.json is a Git LFS pointer",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_nothing_is_made_up(folder: Path, how: str) -> None:
    spoil, sentence = REFUSED[how]
    spoil(folder)
    with pytest.raises(ModelRefused, match=sentence) as caught:
        load(folder)
    assert str(folder.parent) not in caught.value.message


def test_the_command_that_is_named_converts(folder: Path, original: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelRefused) as caught:
        load(folder)
    assert caught.value.message.endswith(f'python -c "{CONVERSION}"')
    subprocess.run(
        [sys.executable, "-c", CONVERSION], cwd=folder, check=True, capture_output=True, timeout=120
    )
    assert torch.equal(logits(folder), read_model(original)(IDS).logits)
