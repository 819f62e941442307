"""The transformers config of a GGUF file, which brings none: its metadata is the config, under ggml's names.

transformers' own reader makes it. It reads whole vocabularies one number at a time on the way, so it is given a
stand-in with the same metadata and none of the long lists; and it leaves out some of what a file says, which
`complete.py` adds or refuses.
"""

from __future__ import annotations

import importlib.util
import struct
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig
from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from glassformer import fault
from glassformer.errors import GlassformerError, ModelFailed, ModelRefused
from glassformer.files.gguf import COUNT, FLOAT_TYPES, MAGIC, GgufHeader, read_gguf
from glassformer.files.ollama import is_manifest, read_manifest
from glassformer.loading.gguf.complete import complete

# How transformers spells what ggml calls otherwise.
SPELLINGS = {
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "minimax-m2": "minimax_m2",
}
# What transformers' table holds besides: not families, spelt otherwise in files, encoder-decoders, and two for which it
# has no model or not the names of the tensors.
NO_FAMILY = frozenset({"general", "tokenizer", "mistral", "t5", "umt5", "deci", "gpt_oss"})
# Architectures of files that hold no language model, and what they hold.
OTHERS = {
    "clip": "what a multimodal model sees with; the language model is in another file",
    "diffusion": "a model that draws",
    "wavtokenizer-dec": "a voice",
    "t5": "an encoder-decoder, which reads one whole text and writes another",
    "t5encoder": "an encoder, which reads whole texts",
    "bert": "an encoder, which fills in masked words",
    "nomic-bert": "an encoder, which fills in masked words",
}
STRING_TYPE, COUNT_TYPE = 8, 10
# What a tensor of the stand-in takes: one number, aligned as it is where a file says nothing.
STAND_IN_BYTES = 32


def open_header(place: Path) -> GgufHeader:
    """What the GGUF in `place` says, or the one that an Ollama manifest there names. Raises ModelRefused."""
    return read_gguf(read_manifest(place).weights if is_manifest(place) else place)


def read_gguf_config(header: GgufHeader) -> Any:
    """The config of the model in a file. Raises ModelRefused or ModelFailed."""
    refuse_unknown(header.architecture)
    require_gguf()
    try:
        config = read_with_library(header)
        config.dtype = find_float(header)
        return config if is_quick(header) else complete(config, header)
    except GlassformerError:
        raise
    except Exception as exc:
        raise ModelFailed(
            f"The metadata of the GGUF cannot be read as that of {header.architecture[:40]!r}: "
            f"{fault.describe(exc, folder=header.files[0].parent)}"
        ) from exc


def refuse_unknown(architecture: str) -> None:
    """Raise ModelRefused for an architecture that transformers does not read from GGUF."""
    if architecture in OTHERS:
        raise ModelRefused(f"The GGUF is of architecture {architecture!r}: {OTHERS[architecture]}.")
    known = list_architectures()
    if SPELLINGS.get(architecture, architecture) not in known:
        raise ModelRefused(
            f"The GGUF is of architecture {architecture[:40]!r}, which is not read here from GGUF; "
            f"{', '.join(sorted(known))} are. A folder of the same model with safetensors is read."
        )


def list_architectures() -> set[str]:
    """Those of language models that transformers reads from GGUF, as it spells them."""
    return {*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS} - NO_FAMILY


def require_gguf() -> None:
    """Raise ModelRefused where the library that knows ggml's names is not installed."""
    if importlib.util.find_spec("gguf") is None:
        raise ModelRefused("Reading GGUF needs gguf; install it with: pip install 'glassformer[gguf]'.")


def is_quick(header: GgufHeader) -> bool:
    """Whether transformers' newer reader knows the architecture, whole and quick."""
    return header.architecture in GGUF_CONFIG_ARCHS


def find_float(header: GgufHeader) -> torch.dtype:
    """The format that a file's numbers were in before they were stored in fewer bits, as far as it can be told."""
    types = {tensor.stored for tensor in header.tensors if len(tensor.shape) > 1}
    if types <= {"F32", "F64"}:
        return torch.float32
    return torch.float16 if types <= FLOAT_TYPES and "F16" in types else torch.bfloat16


def read_with_library(header: GgufHeader) -> Any:
    if is_quick(header):
        place = header.files[0]
        return AutoConfig.from_pretrained(place.parent, gguf_file=place.name, local_files_only=True)
    with tempfile.TemporaryDirectory(prefix="glassformer-") as folder:
        (Path(folder) / "model.gguf").write_bytes(make_stand_in(header))
        config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf", local_files_only=True)
    config.name_or_path = ""
    return config


def make_stand_in(header: GgufHeader) -> bytes:
    """A GGUF with the metadata of `header` but for its long lists, and each tensor as one zero.

    A vocabulary's length is said where the file itself leaves it to the list. However far apart the file lays its
    tensors, the stand-in lays them as usual.
    """
    entries = [
        span
        for key, span in header.entries.items()
        if key != "general.alignment" and (key not in header.lengths or header.metadata[key])
    ]
    with header.files[0].open("rb") as file:
        blobs = [file.seek(start) and file.read(end - start) for start, end in entries]
    sized = f"{header.architecture}.vocab_size"
    tokens = header.lengths.get("tokenizer.ggml.tokens")
    if sized not in header.metadata and tokens:
        blobs.append(write_text(sized) + struct.pack("<IQ", COUNT_TYPE, tokens))
    parts = [MAGIC, struct.pack("<IQQ", 3, len(header.tensors), len(blobs)), *blobs]
    parts += [
        write_text(tensor.name) + struct.pack("<IQIQ", 1, 1, 0, number * STAND_IN_BYTES)
        for number, tensor in enumerate(header.tensors)
    ]
    head = b"".join(part for part in parts if part)
    return head + bytes(-len(head) % STAND_IN_BYTES + len(header.tensors) * STAND_IN_BYTES)


def write_text(text: str) -> bytes:
    return COUNT.pack(len(text.encode())) + text.encode()
