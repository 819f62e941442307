"""What is refused before anything is loaded: pickled weights, code or kernels named by a config, links that lead out.

Reads only JSON and file names, never weights. Each refusal is one clear sentence without a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glassformer.errors import ModelRefused
from glassformer.files import hub_cache
from glassformer.files.bound import check_numbers
from glassformer.files.plain import read_plain, refuse_unfit
from glassformer.files.pointer import refuse_pointers

# The one folder inside a model's that transformers reads, too.
TEMPLATES = "additional_chat_templates"
READ = frozenset({".json", ".safetensors", ".model", ".tiktoken", ".txt", ".jinja"})
CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "kernel_config", "use_kernels"})
ATTENTION_KEYS = frozenset(
    {"attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation"}
)


def read_json_object(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in `path`. Raises ModelRefused, calling the file `name`."""
    try:
        value = json.loads(read_plain(path, name).decode())
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
    check_numbers(config)
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


def check_folder(folder: Path, root: Path | None = None) -> None:
    """Raise ModelRefused unless everything about the model in `folder` is safe to load.

    With `root`, files that a symbolic link places outside of it are refused, but for those of a snapshot in a hub
    cache: they lie among the blobs of its own repository.
    """
    if root is not None:
        refuse_links_out(folder, root)
    read = [path for path in list_readable(folder) if path.suffix in READ]
    refuse_unfit(read)
    refuse_pointers(read)
    check_config(folder / "config.json")
    for name in ("tokenizer_config.json", "generation_config.json"):
        if (folder / name).exists():
            found = read_json_object(folder / name, name)
            # What a tokenizer's own code would make of the vocabulary, `tokenizer.json` says as data.
            is_needless = name == "tokenizer_config.json" and (folder / "tokenizer.json").is_file()
            refuse_code(
                {key: item for key, item in found.items() if key != "auto_map" or not is_needless}, name
            )


def refuse_links_out(folder: Path, root: Path) -> None:
    """Raise ModelRefused where a file that may be read lies, by way of a link, outside `root`."""
    for path in list_readable(folder):
        refuse_link_out(path, root)


def refuse_link_out(path: Path, root: Path) -> None:
    """Raise ModelRefused for a file of a model that lies, by way of a link, outside `root`."""
    places = (
        root,
        hub_cache.find_blobs(path.parent.resolve()),
        hub_cache.find_blobs(path.parent.parent.resolve()),
    )
    if not lies_in(path, [place.resolve() for place in places if place]):
        raise ModelRefused(f"The model's folder links to a file outside its model directory: {path.name!r}.")


def list_readable(folder: Path) -> list[Path]:
    """What lies in a model's folder; of folders inside it, only one is read. Raises ModelRefused."""
    paths = [path for path in list_files(folder) if path.name == TEMPLATES or not path.is_dir()]
    return paths + (list_files(folder / TEMPLATES) if (folder / TEMPLATES).is_dir() else [])


def list_files(folder: Path) -> list[Path]:
    """What lies in a folder. Raises ModelRefused."""
    try:
        return list(folder.iterdir())
    except OSError:
        raise ModelRefused("The model's folder cannot be read.") from None


def lies_in(path: Path, places: Iterable[Path]) -> bool:
    try:
        found = path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return False
    return any(found.is_relative_to(place) for place in places)
