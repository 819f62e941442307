"""Where and how a model will lie in memory, decided before any of its weights are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch

from glassformer.compute import quantize as quantizing
from glassformer.errors import BadValue, ModelRefused
from glassformer.files.kind import find_whole_class, refuse_unless_causal
from glassformer.files.size import FLOATS, StoredTensor, estimate_bytes
from glassformer.loading.memory import list_gpu_bytes, spread_over_gpus
from glassformer.loading.options import LoadOptions
from glassformer.loading.reading import BUILDING
from glassformer.loading.tower import list_absent, make_skeleton, make_unread


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how a model will lie in memory, decided from its config and the headers of its weights.

    `device_map` is what transformers calls so: None for one CPU, else which device each part goes to (`{"": device}`
    for all of it, "auto" for several GPUs, each filled at most to its `max_memory`).
    """

    device: torch.device
    dtype: torch.dtype | str
    quantize: str
    needed_bytes: int
    device_map: dict[str, str] | str | None = None
    max_memory: dict[int | str, int] | None = None

    @property
    def place(self) -> str:
        """The device whose memory it takes; `cuda` for several."""
        return self.device.type if self.max_memory else str(self.device)


def plan_load(config: Any, tensors: Collection[StoredTensor], options: LoadOptions) -> Plan:
    """How a model with this config will be loaded and the memory it takes. Raises BadValue or ModelRefused."""
    refuse_unless_causal(config)
    method = quantizing.check_quantised(config, options.quantize)
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    text = config.get_text_config()
    stored = getattr(config, "dtype", None) if isinstance(dtype, str) else dtype
    is_tower = find_whole_class(config) is not None
    needed_bytes = estimate_bytes(
        select_tower(config, tensors) if is_tower else tensors,
        dtype=str(stored).removeprefix("torch.") if stored is not None else None,
        quantize=options.quantize,
        vocab=getattr(text, "vocab_size", None),
        tied=not (
            is_tower and method in (None, *quantizing.PACKED)
        )  # where what is tied is counted once already
        and bool(
            getattr(config, "tie_word_embeddings", False) or getattr(text, "tie_word_embeddings", False)
        ),
    )
    if method in quantizing.UNPACKED:
        needed_bytes = count_skeleton_bytes(config, dtype)
    device_map: dict[str, str] | str | None = None if device.type == "cpu" else {"": str(device)}
    max_memory: dict[int | str, int] | None = None
    if str(device) == "cuda":
        place = spread_over_gpus(needed_bytes, {index: free for index, (free, _) in list_gpu_bytes().items()})
        if isinstance(place, int):
            device = torch.device("cuda", place)
            device_map = {"": str(device)}
        else:
            device_map, max_memory = "auto", place
    return Plan(device, dtype, options.quantize, needed_bytes, device_map, max_memory)


def count_skeleton_bytes(config: Any, dtype: torch.dtype | str) -> int:
    """Bytes of a whole model with this config, from its shapes alone; tied weights count once."""
    chosen = dtype if isinstance(dtype, torch.dtype) else getattr(config, "dtype", None) or torch.float32
    with BUILDING:
        model = make_unread(config)
    numbers = sum(int(parameter.numel()) for parameter in model.parameters())
    return numbers * int(chosen.itemsize)


def select_tower(config: Any, tensors: Collection[StoredTensor]) -> list[StoredTensor]:
    """What is read of `tensors` where the language model is one part of a whole.

    By the shapes that the config gives it; a library's packed weights by their names, as the file has them.
    """
    if quantizing.find_method(config) not in (None, *quantizing.PACKED):
        with BUILDING:
            absent = list_absent(make_unread(config))
        beside = [f"{name.rpartition('.')[2]}." for name in absent]
        return [tensor for tensor in tensors if not any(name in f"{tensor.name}." for name in beside)]
    with BUILDING:
        tower = make_skeleton(config)
    found = [StoredTensor(name, "F32", tuple(part.shape)) for name, part in tower.named_parameters()]
    needed, held = (sum(tensor.numbers for tensor in some) for some in (found, tensors))
    if held < needed:  # else transformers would fill memory with random numbers first
        raise ModelRefused(
            f"The weights do not fit the config: the language model in it has {needed:,} numbers, and the files "
            f"hold {held:,}."
        )
    formats = Counter(tensor.dtype for tensor in tensors if tensor.dtype in FLOATS)
    stored = formats.most_common(1)[0][0] if formats else "F32"
    return [replace(tensor, dtype=stored) for tensor in found]


def choose_device(name: str) -> torch.device:
    """`name`, or the best there is for `auto`. Raises BadValue for one this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # which the one without memory, "meta", cannot
    except (RuntimeError, AssertionError) as exc:
        raise BadValue(f"This machine has no device {name!r}.", field="device") from exc
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype | str:
    """`auto` is float32 on a CPU, where nothing is then rounded, and the model's own format elsewhere.

    Speeds of both are in bench/results/engine.md; docs/decisions/0010 says why it is not the quicker one.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
