"""An adapter laid over a model in memory: a second model of the same weights, with A and B beside the changed ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from glassformer.compute import quantize as quantizing
from glassformer.compute.lora import Change, find_sizes, lay_over
from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.adapter import WEIGHTS, AdapterConfig, check_adapter
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.loading.tokenizer import load_tokenizer

log = logging.getLogger(__name__)

# How peft names what it saves: under two wrappers, with the name of the adapter left out (or not, by hand).
WRAPPERS = ("base_model.model.", "base_model.")
LEFT_OUT = "The adapter also changes parts that pictures or sound go through, which are not loaded."
PART = re.compile(r"(?P<module>.+)\.lora_(?P<which>A|B)(\.default)?\.(?P<kind>weight|bias)")


def load_adapter(source: ModelSource, folder: Path, base: LoadedModel) -> LoadedModel:
    """`base` with the adapter in `folder` over it; no weight of the base is copied or changed.

    Raises ModelRefused for what is no plain LoRA or does not fit the base, and ModelFailed for what cannot be read.
    """
    config = check_adapter(folder, source.root)
    stored = read_tensors(folder / WEIGHTS)
    tensors = keep_loaded(base, stored)
    changes, replaced = sort_tensors(base, config, tensors)
    tokenizer = base.tokenizer
    try:
        tokenizer, said = choose_tokenizer(folder, base)
        with base.lock, torch.inference_mode(False):
            model = lay_over(base.model, changes, replaced)
    except GlassformerError:
        raise
    except Exception as exc:
        log.warning("laying %s over %s failed", source.model_id, base.model_id, exc_info=exc)
        raise ModelFailed(f"The adapter could not be laid over its base ({type(exc).__name__}).") from exc
    loaded = wrap_model(source, model, tokenizer, quantize=base.quantize)
    unused = LEFT_OUT if len(tensors) < len(stored) else ""
    loaded.note = " ".join(part for part in (base.note, said, unused) if part)
    loaded.lock, loaded.base = base.lock, base
    added = [tensor for change in changes.values() for tensor in (change.a, change.b)]
    loaded.bytes = sum(map(quantizing.count_bytes, [*added, *replaced.values()]))
    return loaded


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of an adapter, by the names that they have in its base. Raises ModelRefused for a damaged file."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118
                name = key
                for wrapper in WRAPPERS:
                    name = name.removeprefix(wrapper)
                found[name] = tensors.get_tensor(key)
    except (SafetensorError, OSError) as exc:
        raise ModelRefused("The adapter's weight file is damaged or cut off.") from exc
    if not found:
        raise ModelRefused("The adapter's weight file is empty.")
    return found


def keep_loaded(base: LoadedModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of an adapter changes what is loaded: over a tower, whatever is trained on the whole, by the names here.

    Raises ModelRefused where that is nothing.
    """
    if base.whole_names is None:
        return tensors
    kept = {
        name: tensor
        for key, tensor in tensors.items()
        if (name := base.whole_names.translate(key)) is not None
    }
    if not kept:
        raise ModelRefused(
            "The adapter changes only parts that pictures or sound go through, which are not loaded."
        )
    return kept


def sort_tensors(
    base: LoadedModel, config: AdapterConfig, tensors: dict[str, Tensor]
) -> tuple[dict[str, Change], dict[str, Tensor]]:
    """What an adapter changes, by module, and the parameters that it brings whole, by name, as `base` computes them.

    Raises ModelRefused where it does not fit.
    """
    pairs: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    names = Names(base.model)
    for key, tensor in tensors.items():
        part = PART.fullmatch(key)
        if part is None:
            name = names.find_parameter(key)
            whole[name] = fit_whole(base, key, name, tensor)
            continue
        which = part["which"] + ("" if part["kind"] == "weight" else " bias")
        pairs.setdefault(names.find_module(part["module"]), {})[which] = tensor
    # As peft computes: A and B of 16 bits in float32, whatever the model computes in.
    changes = {name: make_change(base, config, name, pair) for name, pair in pairs.items()}
    return changes, whole


def make_change(base: LoadedModel, config: AdapterConfig, name: str, pair: dict[str, Tensor]) -> Change:
    """The change of one module. Raises ModelRefused where A and B do not fit it or each other."""
    if not {"A", "B"} <= pair.keys() or "A bias" in pair:
        raise ModelRefused(f"The adapter lacks a part of what it changes in {name!r}.")
    module: Any = base.model.get_submodule(name)
    sizes = find_sizes(module)
    if sizes is None:
        raise ModelRefused(
            f"The adapter changes {name!r}, which is no linear map ({type(module).__name__}); only those are read here."
        )
    device = module.weight.device
    a, b, bias = (
        None if tensor is None else tensor.to(device, torch.float32)
        for tensor in (pair["A"], pair["B"], pair.get("B bias"))
    )
    assert a is not None
    assert b is not None
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1] or not len(a):
        raise ModelRefused(f"The adapter's A and B for {name!r} do not fit each other.")
    if (a.shape[1], b.shape[0]) != sizes or (bias is not None and bias.shape != b.shape[:1]):
        raise ModelRefused(
            f"The adapter is for another base than {base.model_id!r}: its change of {name!r} is of a matrix "
            f"{b.shape[0]} x {a.shape[1]}, which is {sizes[1]} x {sizes[0]} here."
        )
    return Change(a, b, config.scale(name, len(a)), bias)


def fit_whole(base: LoadedModel, key: str, name: str, tensor: Tensor) -> Tensor:
    """A parameter that an adapter brings whole, in the base's format. Raises ModelRefused where the shapes differ."""
    own = base.model.get_parameter(name)
    shape = quantizing.find_whole_shape(own)
    if tensor.shape != shape:
        here, there = (" x ".join(map(str, size)) for size in (shape, tensor.shape))
        raise ModelRefused(
            f"The adapter is for another base than {base.model_id!r}: it brings {key!r} as {there}, and here it is "
            f"{here}."
        )
    if quantizing.is_quantised(own):
        raise ModelRefused(f"The adapter brings {key!r} whole, which its base keeps in fewer bits.")
    return tensor.to(own.device, own.dtype)


class Names:
    """The modules and parameters of a model, by the names that an adapter has for them.

    An adapter trained on a part of the model (its trunk, a text model inside another) has the ends of the names.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [name for name, _ in model.named_modules()]
        self._parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]

    def find_module(self, key: str) -> str:
        """Raises ModelRefused for a module that is not there."""
        return find_name(key, self._modules)

    def find_parameter(self, key: str) -> str:
        """Raises ModelRefused for a parameter that is not there."""
        if "lora_embedding" in key:
            raise ModelRefused("The adapter changes the table of token vectors, which is not read here.")
        for wrapper in (".base_layer", ".modules_to_save", ".default", ".original_module"):
            key = key.replace(f"{wrapper}.", ".")
        return find_name(key, self._parameters)


def find_name(key: str, names: Iterable[str]) -> str:
    """The one of `names` that is `key`, or the only one that ends with it. Raises ModelRefused."""
    ending = [name for name in names if name == key or name.endswith(f".{key}")]
    exact = [name for name in ending if name == key]
    if not exact and len(ending) != 1:
        raise ModelRefused(
            f"The adapter is for another base: it changes {key[:80]!r}, which this one does not have."
        )
    return (exact or ending)[0]


def choose_tokenizer(folder: Path, base: LoadedModel) -> tuple[PreTrainedTokenizerBase, str]:
    """The tokenizer that the adapter was trained with, where it brings one that its base can read, and what to note."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return base.tokenizer, ""
    try:
        tokenizer = load_tokenizer(folder)
    except ModelRefused as exc:
        log.info("the adapter's tokenizer is not used: %s", exc.message)
        return base.tokenizer, "The adapter's own tokenizer cannot be read, so its base's is used."
    if len(tokenizer) > base.vocab:
        return (
            base.tokenizer,
            "The adapter's own tokenizer has tokens that its base does not, so the base's is used.",
        )
    return tokenizer, ""
