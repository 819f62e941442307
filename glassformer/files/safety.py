"""What is refused before anything is loaded: pickled weights, code or kernels named by a config, links that lead out.

Reads only JSON and file names, never weights. Each refusal is one clear sentence without a path.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from glassformer.errors import ModelRefused

# A config is a few kilobytes; a tokenizer_config with thousands of added tokens is a few megabytes.
LARGEST_JSON_BYTES = 32 * 2**20
CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "kernel_config", "use_kernels"})
ATTENTION_KEYS = frozenset(
    {"attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation"}
)


def read_json_object(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in `path`. Raises ModelRefused, calling the file `name`."""
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise ModelRefused(f"The model's {name} is too large to be one.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelRefused(f"The model has no {name}.") from None
    except (OSError, ValueError, RecursionError):
        raise ModelRefused(f"The model's {name} cannot be read as JSON.") from None
    if not isinstance(value, dict):
        raise ModelRefused(f"The model's {name} is not a JSON object.")
    return value


def check_config(path: Path) -> dict[str, Any]:
    """The config in `path`, if it names neither kernels nor hidden code. Raises ModelRefused.

    Code in the usual place, `auto_map`, is for the caller: where the library has a class of its own it is left aside.
    """
    config = read_json_object(path, "config.json")
    refuse_code({key: item for key, item in config.items() if key != "auto_map"}, "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelRefused("The model's config.json does not say which model_type it is.")
    return config


def names_code(folder: Path) -> bool:
    """Whether a model's files name code of its own, which is left aside where something else reads the model."""
    names = [name for name in ("config.json", "tokenizer_config.json") if (folder / name).is_file()]
    return any(read_json_object(folder / name, name).get("auto_map") for name in names)


def refuse_own_code(name: str) -> None:
    """Raise ModelRefused for a model that cannot be read without its own code, named in file `name`."""
    raise ModelRefused(f"The model's {name} names code of its own (auto_map), which is never run here.")


def refuse_code(value: object, name: str) -> None:
    """Raise ModelRefused where `value`, read from file `name`, names code or a kernel anywhere inside."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in CODE_KEYS and item:
                raise ModelRefused(
                    f"The model's {name} names code of its own ({key}), which is never run here."
                )
            if key in ATTENTION_KEYS and isinstance(item, str) and not item.replace("_", "").isalnum():
                raise ModelRefused(f"The model's {name} names a kernel ({key}), which is never fetched here.")
            refuse_code(item, name)
    elif isinstance(value, list):
        for item in value:
            refuse_code(item, name)


def check_folder(folder: Path, root: Path | None = None) -> list[Path]:
    """The weight files of the model in `folder`, if everything about it is safe to load. Raises ModelRefused.

    With `root`, files that a symbolic link places outside of it are refused.
    """
    check_config(folder / "config.json")
    for name in ("tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            found = read_json_object(folder / name, name)
            # What a tokenizer's own code would make of the vocabulary, `tokenizer.json` says as data.
            is_needless = name == "tokenizer_config.json" and (folder / "tokenizer.json").is_file()
            refuse_code(
                {key: item for key, item in found.items() if key != "auto_map" or not is_needless}, name
            )
    if (folder / "adapter_config.json").exists():
        raise ModelRefused("This is an adapter for another model, not a whole model; merge the two first.")
    weights = find_weights(folder)
    if root is not None:
        for path in [*folder.glob("*.json"), *folder.glob("*.jinja"), *weights]:
            if not path.resolve().is_relative_to(root.resolve()):
                raise ModelRefused("The model's folder links to files outside its model directory.")
    return weights


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of the model in `folder`. Raises ModelRefused where it has none or lacks a part."""
    names = name_weights(folder, {path.name for path in folder.glob("*.safetensors") if path.is_file()})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelRefused(f"The model lacks {len(missing)} of its {len(names)} weight files.")
    return [folder / name for name in names]


def name_weights(folder: Path, offered: Collection[str]) -> list[str]:
    """Which files hold the weights: the one, or those that the index in `folder` names. Others may lie beside them.

    `offered` are the safetensors files there are. Raises ModelRefused where the model has none.
    """
    index = folder / "model.safetensors.index.json"
    if "model.safetensors" in offered:
        return ["model.safetensors"]
    if not index.is_file():
        raise ModelRefused(
            "The model has no safetensors weights; other formats can carry code and are not loaded."
        )
    weight_map = read_json_object(index, index.name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ModelRefused("The model's index of weights has no weight_map.")
    names = sorted(set(weight_map.values()))
    if any(Path(name).name != name or not name.endswith(".safetensors") or "\\" in name for name in names):
        raise ModelRefused("The model's index of weights names files outside its folder.")
    return names
