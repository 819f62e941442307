"""The table of docs/formats.md: what lies on people's disks, and what becomes of it here.

A row is a name, where such models come from, and a function that puts one into an empty folder and gives the place that
a user would name. What the table says of it is what opening it gave. `python tests/formats.py` writes the page, and
`tests/loading/test_formats.py` makes every row again and holds the page to it.
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# The makers of some rows are those of tests.
sys.path.insert(0, str(Path(__file__).parent / "loading"))
sys.path.insert(0, str(Path(__file__).parent / "compute"))

import gguf
import numpy as np
import torch
from adapters import make_adapter
from gguf_files import Kind, make_causal, make_store, write_gguf
from safetensors.torch import load_file, save_file
from test_config_repair import FACTORS, make_pruned
from test_config_repair import change as change_config
from test_packed import GROUP, pack_awq, pack_gptq, pack_mlx, write_mxfp4
from test_packed import write as write_packed
from test_quantize import pack_checkpoint
from test_tokenizer_files import drop_tokenizer, write_tekken
from test_tower import make_whole
from test_weight_files import POINTER, name_tensors, rename, split
from tiny import make_model, make_tokenizer
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification

from glassformer.errors import GlassformerError
from glassformer.files.catalog import ModelSource
from glassformer.files.gguf_place import find_only
from glassformer.loading.load import load_model
from glassformer.notebook.session import NotebookSession
from glassformer.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "formats.md"
HEAD = """# What can be opened

Each row is made by a test and opened, and what opens has computed a step. The rows are in `tests/formats.py`, and
`python tests/formats.py` writes this page; what is refused is so with the sentence that stands here. What the inside of
a family looks like is in [families.md](families.md).

| on the disk | from | what happens |
|---|---|---|
"""
OPENS = "opens"


@dataclass(frozen=True, slots=True)
class Row:
    """`make` gets an empty folder, and gives the place to open, the folder itself where it gives none."""

    name: str
    origin: str
    make: Callable[[Path], Any]


def make_plain(folder: Path) -> Path:
    return make_model(folder, "llama")


def changed(*changes: Callable[[Path], object]) -> Callable[[Path], None]:
    """A plain model's folder, changed."""

    def make(folder: Path) -> None:
        make_plain(folder)
        for change in changes:
            change(folder)

    return make


def place(name: str) -> Callable[[Path], Path]:
    """A plain model in a folder of that name below."""
    return lambda folder: make_plain(folder / name)


def packed(
    pack: Any, settings: dict[str, Any], key: str = "quantization_config", **more: Any
) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write_packed(folder, pack, {key: settings}, **more)

    return make


def settle(changes: dict[str, Any]) -> Callable[[Path], None]:
    """A change to what the config says."""

    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def write_mxfp4_folder(folder: Path) -> None:
    write_mxfp4(folder)


def write_float_blocks(folder: Path) -> None:
    """Each map of a tiny model is smaller than one block."""
    make_plain(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if "_proj" in name]:
        scale = tensors[name].abs().max() / 448
        tensors |= {name: (tensors[name] / scale).to(torch.float8_e4m3fn)}
        tensors |= {f"{name}_scale_inv": scale.reshape(1, 1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    recipe = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    settle({"quantization_config": recipe})(folder)


def quantised(quantize: str) -> Callable[[Path], None]:
    """As the library itself writes a model that it has made smaller."""

    def make(folder: Path) -> None:
        plain = make_plain(folder.with_name("plain"))
        source = ModelSource(model_id="plain", kind="folder", folder=plain)
        small = load_model(source, plain, device="cpu", quantize=quantize)
        shutil.copytree(plain, folder)
        (folder / "model.safetensors").unlink()
        small.model.save_pretrained(folder)

    return make


def over_base(**config: Any) -> Callable[[Path], Path]:
    """An adapter in a folder beside that of the model it was trained for."""

    def make(folder: Path) -> Path:
        make_plain(folder / "base")
        return make_adapter(folder / "base", folder / "adapter", **config)

    return make


def over_whole(folder: Path) -> Path:
    """An adapter that was trained on a whole model, its part for pictures among it."""
    whole = make_whole(folder / "base")
    return make_adapter(folder / "base", folder / "adapter", model=whole)


def over_base_of(base: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """An adapter beside the model it was trained for, which is kept in fewer bits; the maps of both are as wide."""

    def make(folder: Path) -> Path:
        base(folder / "base")
        source = ModelSource(
            model_id="base", kind="folder", folder=find_only(folder / "base") or folder / "base"
        )
        assert source.folder is not None
        model = load_model(source, source.folder, device="cpu").model
        return make_adapter(folder / "base", folder / "adapter", model=model)

    return make


def without_base(folder: Path) -> None:
    base = make_plain(folder.with_name("base"))
    make_adapter(base, folder)
    shutil.rmtree(base)


def leave_adapter(folder: Path) -> None:
    """The files of an adapter beside the whole weights that it went into."""
    make_adapter(folder, folder)


def leave_out_language(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "language_model" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def write_shards(folder: Path) -> None:
    make_plain(folder)
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")


def make_hub_cache(folder: Path) -> Path:
    make_plain(folder / "models--owner--name" / "snapshots" / "0a1b2c")
    return folder / "models--owner--name"


def pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def make_gguf_cache(folder: Path) -> Path:
    one_gguf(Kind.Q8_0)(folder / "models--owner--name-GGUF" / "snapshots" / "0a1b2c")
    return folder / "models--owner--name-GGUF"


def configured(*dropped: str, **values: Any) -> Callable[[Path], None]:
    """A plain model's folder with other values in its config."""
    return changed(lambda folder: change_config(folder, *dropped, **values))


def add_tokens(folder: Path) -> None:
    """To the tokenizer alone."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(folder)


def link_out(folder: Path) -> None:
    outside = folder.with_name("elsewhere.json")
    (folder / "tokenizer.json").rename(outside)
    (folder / "tokenizer.json").symlink_to(outside)


def two_sets(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "a.safetensors")
    rename("b.safetensors")(folder)


def cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])

    return change


def save_as(auto: Any, kind: str = "llama", **shape: Any) -> Callable[[Path], None]:
    """A folder whose weights are those of another class of the family."""

    def make(folder: Path) -> None:
        make_model(folder, kind, **shape)
        auto.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)

    return make


def configure(kind: str, architecture: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = AutoConfig.for_model(kind)
        config.architectures = [architecture]
        config.save_pretrained(folder)

    return change


def one_gguf(kind: Kind, family: str = "llama", **options: Any) -> Callable[[Path], Path]:
    return lambda folder: write_gguf(folder / "model.gguf", make_causal(family), kind=kind, **options)


def split_gguf(folder: Path) -> None:
    write_gguf(folder / "model.gguf", make_causal("llama"), split_max_tensors=9)


def several_ggufs(folder: Path) -> None:
    file = write_gguf(folder / "one.gguf", make_causal("llama"))
    shutil.copy(file, folder / "two.gguf")


def cut_gguf(folder: Path) -> Path:
    one_gguf(Kind.Q8_0)(folder)
    cut("model.gguf")(folder)
    return folder / "model.gguf"


def gguf_of(architecture: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
        writer.add_tensor("token_embd.weight", np.zeros((4, 4), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return folder / "model.gguf"

    return make


def ollama(folder: Path) -> Path:
    file = write_gguf(folder / "made" / "model.gguf", make_causal("qwen2"), kind=Kind.Q8_0)
    make_store(file, folder / "store")
    return folder / "store" / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "1b"


def lm_studio(folder: Path) -> Path:
    write_gguf(folder / "publisher" / "model" / "model-Q4_0.gguf", make_causal("gemma2"), kind=Kind.Q4_0)
    return folder / "publisher" / "model"


GPTQ = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": GROUP,
    "desc_act": False,
    "checkpoint_format": "gptq",
}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}

ROWS = (
    Row("a folder with config.json and model.safetensors", "transformers", make_plain),
    Row("safetensors in parts with an index", "transformers", write_shards),
    Row(
        "safetensors in parts without an index", "by hand", changed(split("model-{:05}-of-00002.safetensors"))
    ),
    Row("consolidated.safetensors", "Mistral", changed(rename("consolidated.safetensors"))),
    Row("safetensors of any other name", "by hand", changed(rename("my best model.safetensors"))),
    Row(
        "tensors named `_orig_mod.` or `module.`",
        "torch.compile, DDP",
        changed(name_tensors("module._orig_mod.{}".format)),
    ),
    Row("a checkpoint inside a run's folder", "Trainer", place("checkpoint-10")),
    Row("a repository in the hub's cache", "huggingface_hub", make_hub_cache),
    Row("a GGUF in the hub's cache", "huggingface_hub", make_gguf_cache),
    Row(
        "nulls in config.json where numbers belong",
        "older transformers",
        configured(head_dim=None, rms_norm_eps=None, max_position_embeddings=None, use_cache=None),
    ),
    Row("heads that do not divide the width, with head_dim", "pruned models", make_pruned),
    Row(
        "rope_scaling of the kind `su`",
        "Phi-3's first configs",
        configured("rope_parameters", rope_scaling={"type": "su", **FACTORS}, rope_theta=500.0),
    ),
    Row("a pad_token_id outside the vocabulary", "fine-tunes", configured(pad_token_id=32_000)),
    Row(
        "code of its own beside a family that transformers has",
        "Phi-3, Falcon, ...",
        configured(auto_map={"AutoModelForCausalLM": "modeling_x.X"}),
    ),
    Row("a tokenizer with more tokens than the model", "fine-tunes", changed(add_tokens)),
    Row("tekken.json for a tokenizer", "Mistral", changed(write_tekken)),
    Row("a GGUF file, Q4_1", "llama.cpp", one_gguf(Kind.Q4_1)),
    Row("a GGUF file, BF16", "llama.cpp", one_gguf(Kind.BF16, "qwen3")),
    Row("a GGUF in several parts", "llama-gguf-split", split_gguf),
    Row("a model in Ollama's store", "Ollama", ollama),
    Row("publisher/model/file.gguf", "LM Studio", lm_studio),
    Row(
        "GPTQ, 4 bit",
        "GPTQModel",
        packed(pack_gptq, GPTQ, bits=4, is_first=True, is_shuffled=False, has_index=True),
    ),
    Row(
        "GPTQ, 8 bit, inputs in any order, zeros of the second version",
        "GPTQModel",
        packed(
            pack_gptq,
            {**GPTQ, "bits": 8, "desc_act": True, "checkpoint_format": "gptq_v2"},
            bits=8,
            is_first=False,
            is_shuffled=True,
            has_index=True,
        ),
    ),
    Row("AWQ, 4 bit", "AutoAWQ", packed(pack_awq, AWQ)),
    Row(
        "MLX, 4 bit",
        "mlx-lm",
        packed(pack_mlx, {"group_size": 32, "bits": 4}, "quantization", tables=True, bits=4),
    ),
    Row("MXFP4", "gpt-oss", write_mxfp4_folder),
    Row("8-bit floats in blocks (FP8)", "DeepSeek, Qwen, Mistral", write_float_blocks),
    Row("int8 of torchao, with the extra `quantized`", "transformers", quantised("int8")),
    Row("NF4 of bitsandbytes, with the same extra", "transformers", quantised("int4")),
    Row(
        "compressed-tensors, with the same extra",
        "llm-compressor",
        lambda folder: pack_checkpoint(
            make_model(folder.with_name("plain"), "llama", tie_word_embeddings=True), folder
        ),
    ),
    Row("a LoRA adapter beside its base", "peft", over_base()),
    Row("a rank-stabilised LoRA adapter (use_rslora)", "peft", over_base(use_rslora=True)),
    Row("a LoRA adapter that changes the output head", "peft", over_base(names=("q_proj", "lm_head"))),
    Row("a LoRA adapter beside a GGUF of its base", "peft", over_base_of(one_gguf(Kind.Q8_0))),
    Row(
        "a LoRA adapter beside its base in GPTQ",
        "peft",
        over_base_of(packed(pack_gptq, GPTQ, bits=4, is_first=True, is_shuffled=False, has_index=True)),
    ),
    Row("a LoRA adapter of a whole multimodal model", "peft", over_whole),
    Row("a merged model that kept its adapter's files", "peft", changed(leave_adapter)),
    Row(
        "a multimodal model: its language model is read",
        "Mistral 3, LLaVA, ...",
        lambda folder: bool(make_whole(folder)) and folder,
    ),
    Row(
        "a multimodal model without its language model's weights",
        "by hand",
        lambda folder: bool(make_whole(folder)) and leave_out_language(folder),
    ),
    Row(
        "GPTQ, 3 bit",
        "AutoGPTQ",
        changed(settle({"quantization_config": {**GPTQ, "bits": 3}})),
    ),
    Row(
        "AWQ for another kernel",
        "AutoAWQ",
        changed(settle({"quantization_config": {**AWQ, "version": "gemv"}})),
    ),
    Row(
        "MLX in a mode of its own floats (mxfp4, nvfp4, mxfp8)",
        "mlx-lm",
        packed(pack_mlx, {"group_size": 32, "bits": 4, "mode": "mxfp4"}, "quantization", tables=True, bits=4),
    ),
    Row(
        "HQQ and every other method", "hqq", changed(settle({"quantization_config": {"quant_method": "hqq"}}))
    ),
    Row("several GGUF files in one folder", "by hand", several_ggufs),
    Row("a GGUF of a family that transformers does not read from GGUF", "llama.cpp", gguf_of("granite")),
    Row("a GGUF of gpt-oss", "llama.cpp", gguf_of("gpt-oss")),
    Row("a GGUF that is cut", "a broken download", cut_gguf),
    Row("model.safetensors that is cut", "a broken download", changed(cut("model.safetensors"))),
    Row(
        "safetensors of which a part is missing",
        "a broken download",
        changed(split("model-{:05}-of-00002.safetensors", kept=1)),
    ),
    Row("two sets of safetensors and no index", "by hand", changed(two_sets)),
    Row(
        "tensors named by another program",
        "Mistral, Meta",
        changed(name_tensors(lambda name: name.replace("self_attn.q_proj", "attention.wq"))),
    ),
    Row("weights of other shapes than the config's", "by hand", configured(num_key_value_heads=1)),
    Row("a file that is a link out of the model directory", "by hand", changed(link_out)),
    Row(
        "a pointer of Git LFS in place of the weights",
        "git clone",
        changed(lambda folder: (folder / "model.safetensors").write_text(POINTER)),
    ),
    Row("pytorch_model.bin", "older transformers", changed(pickle)),
    Row("consolidated.00.pth", "Meta", changed(rename("consolidated.00.pth"))),
    Row("tf_model.h5", "TensorFlow", changed(rename("tf_model.h5"))),
    Row(
        "a family of its own, with code of its own",
        "research",
        configured(model_type="of-its-own", auto_map={"AutoModelForCausalLM": "modeling_x.X"}),
    ),
    Row(
        "a rotary embedding that transformers has no formula for",
        "other programs",
        configured("rope_parameters", rope_scaling={"type": "ntk", "factor": 2.0}),
    ),
    Row("a LoRA adapter whose base is nowhere", "peft", without_base),
    Row("a DoRA adapter", "peft", over_base(use_dora=True)),
    Row("a LoHa adapter", "peft, LyCORIS", over_base(peft_type="LOHA")),
    Row("a LoKr adapter", "peft, LyCORIS", over_base(peft_type="LOKR")),
    Row("an IA3 adapter", "peft", over_base(peft_type="IA3")),
    Row("a learnt prompt", "peft", over_base(peft_type="PROMPT_TUNING")),
    Row("no tokenizer", "by hand", changed(drop_tokenizer)),
    Row("an encoder", "BERT", save_as(AutoModelForMaskedLM, "bert", is_decoder=False, **SMALL)),
    Row("an encoder-decoder", "T5", changed(configure("t5", "T5ForConditionalGeneration"))),
    Row("a classifier", "transformers", save_as(AutoModelForSequenceClassification)),
    Row("no config.json", "by hand", changed(lambda folder: (folder / "config.json").unlink())),
)


def open_row(row: Row, folder: Path) -> str:
    """What becomes of a row: `opens`, or the sentence that says why not."""
    place = row.make(folder) or folder
    session = NotebookSession()
    session.settings = Settings(offline=True, local_models=False, device="cpu")
    if "manifests" in Path(place).parts:
        # A store is named, not its manifests.
        session.settings = session.settings.model_copy(update={"model_dirs": [folder / "store"]})
        place = "ollama/tiny:1b"
    try:
        _, source = session.locate(place)
        assert source.folder is not None
        # An adapter is loaded over its base, which takes a registry.
        loaded = (
            session.load(place, device="cpu", dtype="float32")
            if source.base
            else load_model(source, source.folder, device="cpu")
        )
    except GlassformerError as error:
        return error.message
    with torch.inference_mode():
        logits = loaded.model(torch.arange(5, 12)[None]).logits
    assert bool(logits.isfinite().all())
    kept = sorted(set(loaded.stored.values()))
    return f"{OPENS}{f', kept as {kept[0]}' if len(kept) == 1 else ''}"


def write_row(row: Row, outcome: str) -> str:
    return f"| {row.name} | {row.origin} | {outcome} |"


def main() -> None:
    lines = []
    for row in ROWS:
        with TemporaryDirectory() as folder:
            lines.append(write_row(row, open_row(row, Path(folder) / "model")))
        print(lines[-1], file=sys.stderr)
    PAGE.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
