"""A folder with a config.json and safetensors, as transformers writes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from glassformer.compute import quantize as quantizing
from glassformer.files.safety import check_folder, names_code
from glassformer.files.size import StoredTensor, read_headers
from glassformer.files.weight_files import find_weights, is_usual
from glassformer.loading.config import read_config
from glassformer.loading.loose_tensors import open_tensors
from glassformer.loading.packed import Packed, find_packed, list_kept, list_whole, open_whole
from glassformer.loading.plan import Plan
from glassformer.loading.stored_name import find_plain_names
from glassformer.loading.stray import NOTE, has_stray, without_stray
from glassformer.loading.tokenizer import load_tokenizer
from glassformer.loading.tower import choose_class, make_unread


@dataclass(frozen=True, slots=True)
class SafetensorsFolder:
    """A `Form`: `weights` are the files of `place` that hold them, however they are called and in whatever parts."""

    place: Path
    weights: tuple[Path, ...]
    stored: dict[str, str] = field(default_factory=dict)

    def list_tensors(self) -> list[StoredTensor]:
        found = read_headers(self.weights)
        names = find_plain_names([tensor.name for tensor in found])
        plain = [replace(tensor, name=names[tensor.name]) for tensor in found]
        return list_whole(plain, self.find_packed(plain))

    def find_packed(self, stored: list[StoredTensor]) -> dict[str, Packed]:
        """The weights that the files keep packed in a way that is unpacked here. Raises ModelRefused."""
        config = self.read_config()
        method = quantizing.find_method(config)
        return (
            find_packed(stored, method, quantizing.find_settings(config) or {})
            if method in quantizing.PACKED
            else {}
        )

    def read_config(self) -> Any:
        return read_config(self.place / "config.json")

    def read_tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.place)

    def read_weights(self, config: Any, plan: Plan) -> tuple[PreTrainedModel, Any]:
        stored = read_headers(self.weights)
        names = find_plain_names([tensor.name for tensor in stored])
        packed = self.find_packed([replace(tensor, name=names[tensor.name]) for tensor in stored])
        self.stored.update(
            {name: one.kept_as for name, one in packed.items()}
            or list_kept(stored, quantizing.find_settings(config) or {})
        )
        if quantizing.find_method(config) in quantizing.PACKED:
            quantizing.forget_settings(config)
        options = {
            "config": config,
            "dtype": plan.dtype,
            "trust_remote_code": False,
            "local_files_only": True,
            "output_loading_info": True,
            "ignore_mismatched_sizes": True,  # told in `refuse_incomplete`, by name and shape
            "quantization_config": quantizing.make_quantization(plan.quantize, plan.dtype),
            "device_map": plan.device_map,
            "max_memory": plan.max_memory,
        }
        kind = choose_class(config)
        found: tuple[PreTrainedModel, Any]
        if (
            not packed
            and is_usual([path.name for path in self.weights], self.place)
            and all(name == plain for name, plain in names.items())
        ):
            with without_stray(self.place) as place:
                found = kind.from_pretrained(place, use_safetensors=True, **options)
            return found
        # transformers would take the format of a first tensor that it reads for it.
        if getattr(config, "dtype", None) is None and isinstance(plan.dtype, str):
            options["dtype"] = find_float(list_whole(stored, packed))
        empty = make_unread(config)
        if hasattr(config, "quantization_config"):
            empty.config.quantization_config = config.quantization_config
        options["config"] = empty.config
        with open_tensors(self.weights, names) as tensors:
            # Only a class itself takes tensors in place of a folder.
            found = type(empty).from_pretrained(
                None,
                state_dict=open_whole(tensors, packed),
                generation_config=self.read_generation(),
                **options,
            )
        return found

    def read_generation(self) -> GenerationConfig | None:
        """How the model is to write, which transformers reads from a folder only with the weights in it."""
        if not (self.place / "generation_config.json").is_file():
            return None
        found: GenerationConfig = GenerationConfig.from_pretrained(self.place, local_files_only=True)
        return found

    def describe(self, model: PreTrainedModel) -> str:
        notes = [NOTE] if has_stray(self.place) else []
        if names_code(self.place):
            notes.append(
                f"The model names code of its own, which was left aside: {type(model).__name__} reads it."
            )
        return " ".join(notes)


def find_float(stored: list[StoredTensor]) -> torch.dtype:
    """The number format of the first tensor of floating point numbers."""
    formats = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return next((formats[tensor.dtype] for tensor in stored if tensor.dtype in formats), torch.float32)


def open_safetensors_folder(place: Path, root: Path | None) -> SafetensorsFolder:
    """Any folder: one that is none is told what it lacks. Raises ModelRefused."""
    check_folder(place, root)
    return SafetensorsFolder(place, tuple(find_weights(place)))
