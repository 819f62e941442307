"""The weights of a GGUF file, made whole a piece at a time and named as transformers names them.

Names and the shapes that ggml changes are undone by transformers' own tables (`get_gguf_hf_weights_map`,
`TENSOR_PROCESSORS`); blocks of fewer bits are unpacked by its own functions, in pieces that stay in the processor's
cache, which takes a third of the time of unpacking whole matrices.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.integrations.gguf.dequant import GGML_NAME, dequantize
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)
from transformers.utils import logging

from glassformer.errors import ModelRefused
from glassformer.files.gguf import STORED_TYPES, GgufHeader, GgufTensor
from glassformer.loading.reading import UNPACKING

FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
# ggml's numbers of the types that transformers unpacks.
TYPES = {name: number for number, name in GGML_NAME.items()}
# Types that the library gguf unpacks besides, in numpy and slower.
SLOW_TYPES = frozenset({"Q5_0", "Q5_1", "TQ1_0", "TQ2_0", "MXFP4"})
BLOCKS = {name: (block, block_bytes) for name, block, block_bytes in STORED_TYPES.values()}
# Numbers that are unpacked at a time: a megabyte as 32-bit floats.
PIECE = 2**18
# Tensors that say how rotary positions are scaled, which is in the config by now (`complete.py`).
IN_CONFIG = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})


def refuse_types(header: GgufHeader) -> None:
    """Raise ModelRefused for a file that is stored in a way that cannot be unpacked."""
    for tensor in header.tensors:
        if tensor.stored not in FLOATS and tensor.stored not in TYPES and tensor.stored not in SLOW_TYPES:
            known = sorted({*FLOATS, *TYPES, *SLOW_TYPES})
            raise ModelRefused(
                f"The GGUF stores {tensor.name!r} as {tensor.stored}, which is not read here; {', '.join(known)} are."
            )


def read_state(
    header: GgufHeader, config: Any, dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights by their names in the model, and how each was stored. Raises ModelRefused for a tensor left over."""
    names, shapes = find_names(header, config)
    kept = {"tensors": {}, "config": config.to_dict()}
    processor = make_processor(header, config)
    found: dict[str, Tensor] = {}
    stored: dict[str, str] = {}
    used = [tensor for tensor in header.tensors if tensor.name not in IN_CONFIG]
    refuse_left_over(header, names, used)
    for tensor, whole in unpack_all(header, used, dtype):
        before = set(kept["tensors"])
        done = processor.process(
            # The library undoes in 32-bit floats, and numpy knows no bfloat16.
            weights=whole.float().numpy() if is_changed(processor) else whole,
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters=kept,
        )
        for new in set(kept["tensors"]) - before:
            stored[new] = tensor.stored
        if done.name is not None:
            found[names[done.name]] = as_tensor(done.weights, dtype)
            stored[names[done.name]] = tensor.stored
    found |= {name: as_tensor(value, dtype) for name, value in kept["tensors"].items()}
    refuse_misshapen(found, shapes)
    return found, stored


def refuse_left_over(header: GgufHeader, names: dict[str, str], used: list[GgufTensor]) -> None:
    """Raise ModelRefused for a tensor that has no name in the model."""
    for tensor in used:
        is_known = tensor.name in names or tensor.name.removesuffix(".weight") in names
        if not is_known and not is_output(header, tensor):
            raise ModelRefused(
                f"The GGUF holds {tensor.name!r}, which transformers' reader of {header.architecture!r} does not "
                "know: without it the model would compute something else."
            )


def unpack_all(
    header: GgufHeader, used: list[GgufTensor], dtype: torch.dtype
) -> Iterator[tuple[GgufTensor, Tensor]]:
    """The tensors in their order, made whole on as many threads as torch has, each of them by one.

    Pieces are small: threads that share one would wait for each other longer than they compute, where cores are busy.
    """
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        maps = {file: open_bytes(file, stack) for file in header.files}
        stack.callback(torch.set_num_threads, threads)
        # Holds for threads that begin from now on.
        torch.set_num_threads(1)
        pool = stack.enter_context(ThreadPoolExecutor(threads, "unpacking"))
        whole = pool.map(lambda tensor: unpack(maps[tensor.file], tensor, dtype), used)
        # Heard by whoever listens to reading.
        yield from zip(logging.tqdm(used, desc=UNPACKING), whole, strict=True)


def refuse_misshapen(found: dict[str, Tensor], shapes: dict[str, torch.Size]) -> None:
    """Raise ModelRefused, before the model is made, where what a file holds is not of the sizes that it says."""
    for name, tensor in found.items():
        if name in shapes and tensor.shape != shapes[name]:
            raise ModelRefused(
                f"The GGUF holds {name!r} of shape {list(tensor.shape)}, and {list(shapes[name])} is what it says of "
                "the model."
            )


def is_changed(processor: TensorProcessor) -> bool:
    """Whether a family's tensors may be changed on the way."""
    return type(processor) is not TensorProcessor


def as_tensor(weights: Any, dtype: torch.dtype) -> Tensor:
    whole = weights if isinstance(weights, Tensor) else torch.from_numpy(np.ascontiguousarray(weights))
    return whole.to(dtype)


def is_output(header: GgufHeader, tensor: GgufTensor) -> bool:
    """Whether it is the table that a family's own undoing names (GPT-2's)."""
    return tensor.name == "output.weight" and header.architecture == "gpt2"


def make_processor(header: GgufHeader, config: Any) -> TensorProcessor:
    kind: type[TensorProcessor] = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)
    return kind(config=config.to_dict())


@dataclass(frozen=True, slots=True)
class Names:
    """What `get_gguf_hf_weights_map` asks of a model: of all its parts, the base model's alone.

    It makes a table of all of ggml's names for each part that it meets, and only the base model's names are ever new.
    """

    config: Any
    tensors: dict[str, Tensor]
    children: tuple[tuple[str, Names], ...] = ()

    def state_dict(self) -> dict[str, Tensor]:
        return self.tensors

    def named_children(self) -> tuple[tuple[str, Names], ...]:
        return self.children


def find_names(header: GgufHeader, config: Any) -> tuple[dict[str, str], dict[str, torch.Size]]:
    """The model's name for each of ggml's, and the shape that each has in it. For the holder of `BUILDING`."""
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config, trust_remote_code=False)
    whole = model.state_dict()
    base = Names(config, model.base_model.state_dict())
    names: Any = Names(config, whole, ((model.base_model_prefix, base),))
    found: dict[str, str] = get_gguf_hf_weights_map(names, make_processor(header, config))
    return found, {name: tensor.shape for name, tensor in whole.items()}


def open_bytes(path: Path, stack: ExitStack) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of a file, mapped as long as `stack` is open; the mapping outlives it where it is still used."""
    file = stack.enter_context(path.open("rb"))
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=np.uint8)


def unpack(data: np.ndarray[Any, np.dtype[np.uint8]], tensor: GgufTensor, dtype: torch.dtype) -> Tensor:
    """The numbers of a tensor, in memory of its own."""
    raw = data[tensor.start : tensor.start + tensor.stored_bytes]
    if tensor.stored in FLOATS:
        plain = torch.from_numpy(raw.copy()).view(FLOATS[tensor.stored])
        return plain.to(dtype).reshape(tensor.shape)
    block, block_bytes = BLOCKS[tensor.stored]
    whole = torch.empty(tensor.numbers, dtype=dtype)
    for start, end in cut(tensor.numbers, PIECE):
        piece = raw[start // block * block_bytes : end // block * block_bytes]
        whole[start:end] = unpack_piece(piece, tensor.stored)
    return whole.reshape(tensor.shape)


def unpack_piece(piece: np.ndarray[Any, np.dtype[np.uint8]], stored: str) -> Tensor:
    if stored in TYPES:
        return dequantize(torch.from_numpy(piece), TYPES[stored])
    import gguf

    whole = gguf.dequantize(piece, gguf.GGMLQuantizationType[stored])
    return torch.from_numpy(whole.reshape(-1))


def cut(count: int, piece: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, piece):
        yield start, min(start + piece, count)
