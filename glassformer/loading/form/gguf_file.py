"""A GGUF file, as llama.cpp, Ollama and LM Studio keep models: one file, or several parts of one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from glassformer.compute import quantize as quantizing
from glassformer.errors import ModelRefused
from glassformer.files.gguf import FLOAT_TYPES, GgufHeader, read_gguf
from glassformer.files.gguf_place import is_gguf, lies_inside
from glassformer.files.ollama import OllamaModel, is_manifest, read_manifest
from glassformer.files.size import StoredTensor
from glassformer.loading.gguf.complete import list_unknown
from glassformer.loading.gguf.config import is_quick, read_gguf_config, refuse_unknown, require_gguf
from glassformer.loading.gguf.tokenizer import describe_cutting, read_gguf_tokenizer
from glassformer.loading.gguf.weights import IN_CONFIG, read_state, refuse_types
from glassformer.loading.plan import Plan
from glassformer.loading.usual_sampling import OF_SAMPLING

# Ollama's names of what transformers calls otherwise.
OLLAMA_SETTINGS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
}


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A `Form`: what the header of the file in `place` says."""

    place: Path
    header: GgufHeader
    ollama: OllamaModel | None = None
    config: list[Any] = field(default_factory=list)
    # How each of the model's weights was stored, once they have been read.
    stored: dict[str, str] = field(default_factory=dict)

    def list_tensors(self) -> list[StoredTensor]:
        """What is stored in fewer bits is made whole, so it counts as numbers of the format it once had."""
        return [
            StoredTensor(
                "output" if tensor.name == "output.weight" else tensor.name,
                tensor.stored if tensor.stored in FLOAT_TYPES else "BF16",
                tensor.shape,
            )
            for tensor in self.header.tensors
            if tensor.name not in IN_CONFIG
        ]

    def read_config(self) -> Any:
        if not self.config:
            self.config.append(read_gguf_config(self.header))
        return copy.deepcopy(self.config[0])

    def read_tokenizer(self) -> PreTrainedTokenizerBase:
        return read_gguf_tokenizer(self.header)

    def read_weights(self, config: Any, plan: Plan) -> tuple[PreTrainedModel, Any]:
        dtype = plan.dtype if isinstance(plan.dtype, torch.dtype) else config.dtype
        auto: Any = AutoModelForCausalLM
        options: dict[str, Any] = {
            "config": config,
            "dtype": dtype,
            "trust_remote_code": False,
            "local_files_only": True,
            "output_loading_info": True,
            "device_map": plan.device_map,
            "max_memory": plan.max_memory,
        }
        if is_quick(self.header):
            refuse_with(self.header, plan)
            place = self.header.files[0]
            found: tuple[PreTrainedModel, Any] = auto.from_pretrained(
                place.parent,
                gguf_file=place.name,
                quantization_config=GgufConfig(dequantize=True),
                **options,
            )
            vars(found[0].config).pop("quantization_config", None)
            self.stored.update(list_quick_stored(place, config))
        else:
            state, stored = read_state(self.header, config, dtype)
            self.stored.update({name: kind for name, kind in stored.items() if kind != "F32"})
            # The class itself: who finds it out of a config wants a folder.
            kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
            found = kind.from_pretrained(
                None,
                state_dict=state,
                quantization_config=quantizing.make_quantization(plan.quantize, plan.dtype),
                **options,
            )
        if self.ollama is not None:
            set_defaults(found[0], self.ollama.settings)
        return found

    def describe(self, model: PreTrainedModel) -> str:
        notes = [describe_cutting(self.header)]
        unknown = [] if is_quick(self.header) else list_unknown(self.header)
        if unknown:
            notes.append(
                f"The file says {', '.join(unknown[:5])} of the model, and it is not known here what that changes."
            )
        if self.ollama is not None and self.ollama.has_projector:
            notes.append("It reads text alone here: pictures cannot be sent.")
        if self.ollama is not None and self.ollama.has_template and not has_template(self.header):
            notes.append(
                "Its chat template is Ollama's own, which is not read here: send a prompt instead of a chat."
            )
        return " ".join(note for note in notes if note)


def list_quick_stored(place: Path, config: Any) -> dict[str, str]:
    """How a file that transformers' newer reader reads keeps what it keeps in fewer bits, by that reader's own plan."""
    from transformers.integrations.gguf.dequant import GGML_NAME
    from transformers.integrations.gguf.reader import GgufHeader as LibraryHeader
    from transformers.integrations.gguf.utils import get_gguf_conversion_mapping, get_gguf_plan

    header = LibraryHeader.from_file(str(place))
    kept, *_ = get_gguf_plan(header, get_gguf_conversion_mapping(header.architecture, config))
    return {name: GGML_NAME[kind] for name, kind in kept.items()}


def set_defaults(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    """Let the settings for writing that come with a model stand in for those of its makers."""
    defaults: Any = model.generation_config
    for theirs, ours in OLLAMA_SETTINGS.items():
        value = settings.get(theirs)
        if isinstance(value, int | float) and not isinstance(value, bool) and defaults is not None:
            setattr(defaults, ours, value)
            # Ollama draws whatever it is told of drawing; transformers only where it is told to draw.
            if ours in OF_SAMPLING:
                defaults.do_sample = True


def has_template(header: GgufHeader) -> bool:
    return "tokenizer.chat_template" in header.metadata


def open_gguf(place: Path, root: Path | None) -> GgufFile | None:
    """A file that is or calls itself GGUF, or a manifest of Ollama's. Raises ModelRefused for what cannot be read."""
    ollama = read_manifest(place) if is_manifest(place) else None
    if ollama is None and not is_gguf(place):
        return None
    if ollama is not None and ollama.has_adapter:
        raise ModelRefused("The Ollama model lays an adapter over its weights, which is not read here.")
    weights = place if ollama is None else ollama.weights
    if root is not None and not lies_inside(weights, root.resolve()):
        raise ModelRefused("The GGUF is a link to a file outside its model directory.")
    header = read_gguf(weights)
    refuse_unknown(header.architecture)
    refuse_types(header)
    require_gguf()
    return GgufFile(weights, header, ollama)


def refuse_with(header: GgufHeader, plan: Plan) -> None:
    """Raise ModelRefused for what the newer reader cannot do."""
    if len(header.files) > 1:
        raise ModelRefused(
            f"The GGUF is in {len(header.files)} parts, and transformers reads {header.architecture!r} from one file "
            "alone; join them with llama-gguf-split --merge."
        )
    if plan.quantize != "none":
        raise ModelRefused(
            f"A GGUF of architecture {header.architecture!r} cannot be loaded with quantize={plan.quantize}.",
            field="quantize",
        )
