"""Which files of a folder hold a model's weights, by their names alone; where none does, what is there instead."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from glassformer.errors import ModelRefused
from glassformer.files.safety import read_json_object

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"(?P<stem>.+)-\d+-of-0*(?P<count>\d+)\.safetensors")
# Of several sets of weights without an index: transformers' own name, a format's (`model.fp16.safetensors`), Mistral's.
PREFERRED = (re.compile(r"model"), re.compile(r"model\..+"), re.compile(r"consolidated"))
# Weights of an adapter lie beside those of the model it changes.
ADAPTER = "adapter_"
# What other programs keep weights in. Trainer's own states (`training_args.bin`, `optimizer.pt`) are none.
PICKLED = re.compile(r"(pytorch_model|model|consolidated|weights|checkpoint).*\.(bin|pth|pt|ckpt)")
FOREIGN = (".gguf", ".h5", ".msgpack", ".onnx", ".npz")
# transformers reads its own pickled weights without running anything, and writes them as safetensors.
CONVERTED = "pytorch_model"
CONVERSION = (
    "from transformers import AutoModelForCausalLM as M; "
    "M.from_pretrained('.', dtype='auto').save_pretrained('.')"
)
MOST_NAMED = 4


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of the model in `folder`. Raises ModelRefused where it has none or lacks a part."""
    offered = {path.name for path in folder.iterdir() if path.is_file()}
    names = name_weights(folder, offered)
    refuse_lacking(names, offered)
    return [folder / name for name in names]


def refuse_lacking(names: Collection[str], offered: Collection[str]) -> None:
    missing = [name for name in names if name not in offered]
    if missing:
        raise ModelRefused(f"The model lacks {len(missing)} of its {len(names)} weight files.")


def name_weights(folder: Path, offered: Collection[str]) -> list[str]:
    """Which files hold the weights: the one, those that the index in `folder` names, or whatever one set there is.

    `offered` are the files there are. Raises ModelRefused where the model has none.
    """
    if WHOLE in offered:
        return [WHOLE]
    if (folder / INDEX).is_file():
        return read_index(folder / INDEX)
    return choose_set(offered)


def is_usual(names: Collection[str], folder: Path) -> bool:
    """Whether transformers finds these weights by itself."""
    return list(names) == [WHOLE] or (folder / INDEX).is_file()


def read_index(path: Path) -> list[str]:
    weight_map = read_json_object(path, path.name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelRefused("The model's index of weights has no weight_map.")
    names = sorted(set(weight_map.values()))
    if any(Path(name).name != name or not name.endswith(".safetensors") or "\\" in name for name in names):
        raise ModelRefused("The model's index of weights names files outside its folder.")
    return names


def choose_set(offered: Collection[str]) -> list[str]:
    """The weights that are called otherwise, or lie in numbered parts without an index. Raises ModelRefused."""
    sets: defaultdict[str, list[str]] = defaultdict(list)
    counts: dict[str, int] = {}
    for name in sorted(offered):
        if not name.endswith(".safetensors") or name.startswith(ADAPTER):
            continue
        part = SHARD.fullmatch(name)
        stem = part["stem"] if part else name.removesuffix(".safetensors")
        sets[stem].append(name)
        counts[stem] = int(part["count"]) if part else 1
    if not sets:
        raise ModelRefused(describe_lack(offered))
    stems = next((found for kind in PREFERRED if (found := [s for s in sets if kind.fullmatch(s)])), [*sets])
    if len(stems) > 1:
        raise ModelRefused(
            f"The model has {len(stems)} sets of weights and no index that says which is meant: "
            f"{', '.join(sets[stem][0] for stem in stems[:MOST_NAMED])}."
        )
    (stem,) = stems
    if len(sets[stem]) < counts[stem]:
        lacking = counts[stem] - len(sets[stem])
        raise ModelRefused(f"The model lacks {lacking} of its {counts[stem]} weight files.")
    return sets[stem]


def describe_lack(offered: Collection[str], *, repo: str | None = None) -> str:
    """What a model has in place of safetensors, and the command that makes them, where there is one."""
    pickled = sorted(name for name in offered if PICKLED.fullmatch(name))
    if pickled:
        told = f"The model's weights are pickled ({pickled[0]}), which can carry code, and are not loaded. "
        if not pickled[0].startswith(CONVERTED):
            return f"{told}A copy of them in safetensors opens."
        fetch = f"hf download {repo} --local-dir model && cd model && " if repo else ""
        where = "This writes" if repo else "In its folder this writes"
        return f'{told}{where} them as safetensors: {fetch}python -c "{CONVERSION}"'
    foreign = sorted(name for name in offered if name.endswith(FOREIGN))
    if foreign:
        return f"The model has no safetensors weights; those in {foreign[0]} are not read here."
    return "The model has no safetensors weights."
