"""Weights in fewer bits: checkpoints that come so, and whole ones that are made so while they are read.

The work is done by libraries of the optional extra `quantized`: torchao for int8 (each output feature has its scale,
weights only), bitsandbytes for int4 (NF4 in blocks of 64). Embeddings, norms and the unembedding stay whole.
Checkpoints of compressed-tensors and in blocks of 8-bit floats are small on the disk alone: they are made whole, and so
are those in `PACKED`, by code of our own (`loading/packed.py`).
What it costs in accuracy is written in docs/decisions.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from glassformer.errors import ModelRefused

LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes"}
# Methods whose few lines of unpacking are here; libraries that compute with them as they are need a GPU, and compilers.
PACKED = ("gptq", "awq", "mxfp4", "mlx")
# Methods whose checkpoints load with a library of the extra. The others need kernels that are fetched from the
# hub while loading, which is running somebody's code, or libraries that no longer work with this transformers.
METHODS = {
    "torchao": "torchao",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fp8": "",
    **dict.fromkeys(PACKED, ""),
}
# Made whole while they are read: compressed-tensors would do it at the first forward, whatever was asked, and the
# 8-bit floats in blocks of "fp8" need kernels that are fetched.
UNPACKED = frozenset({"compressed-tensors", "fp8"})


def find_settings(config: Any) -> dict[str, Any] | None:
    """What a checkpoint's config (a dict or transformers' own) says of its quantising; None where it is whole."""
    for holder in (config, read_key(config, "text_config")):
        # MLX calls it otherwise, and often both ways.
        for name in ("quantization_config", "quantization"):
            found = read_key(holder, name)
            if found:
                return dict(found) if isinstance(found, dict) else dict(vars(found))
    return None


def read_key(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def find_method(config: Any) -> str | None:
    """How a checkpoint is quantised, as its config (a dict or transformers' own) says; None where it is whole."""
    settings = find_settings(config)
    if settings is None:
        return None
    method = settings.get("quant_method")
    if method is None and (settings.get("load_in_8bit") or settings.get("load_in_4bit")):
        method = "bitsandbytes"  # whose first checkpoints did not say so
    if method is None and {"bits", "group_size"} <= settings.keys():
        method = "mlx"  # which never says so
    return str(getattr(method, "value", method) or "an unnamed method")


def forget_settings(config: Any) -> None:
    """Take out of a config that its checkpoint is quantised, as it is not once it has been read."""
    for holder in (config, getattr(config, "text_config", None)):
        for name in ("quantization_config", "quantization"):
            if holder is not None:
                vars(holder).pop(name, None)


def check_quantised(config: Any, quantize: str) -> str | None:
    """The method of a quantised checkpoint, if it can be loaded and `quantize` leaves it alone. Raises ModelRefused."""
    method = find_method(config)
    if method is None:
        if quantize != "none":
            require_library(LIBRARIES[quantize], f"quantize={quantize}")
        return None
    if method not in METHODS:
        raise ModelRefused(
            f"The model is quantised with {method[:40]!r}, which cannot be loaded here; "
            f"{', '.join(sorted(METHODS))} can, and so can its weights in 16 bits or a GGUF of it."
        )
    if METHODS[method]:
        require_library(METHODS[method], f"This model ({method})")
    if quantize != "none":
        raise ModelRefused(
            f"The model is quantised already ({method}), so quantize={quantize} cannot be.", field="quantize"
        )
    return method


def require_library(name: str, wanted_by: str) -> None:
    """Raise ModelRefused where a library is not installed."""
    if importlib.util.find_spec(name) is None:
        raise ModelRefused(
            f"{wanted_by} needs {name}; install it with: pip install 'glassformer[quantized]'.",
            field="quantize",
        )


def unpack_when_read(config: Any, method: str | None) -> None:
    """Have a checkpoint of a method in `UNPACKED` made whole while it is read; its own config must say so."""
    if method in UNPACKED and isinstance(getattr(config, "quantization_config", None), dict):
        config.quantization_config["dequantize"] = True


def make_quantization(quantize: str, dtype: torch.dtype | str) -> Any:
    """transformers' config that quantises while reading; None for `none`."""
    if quantize == "none":
        return None
    if quantize == "int8":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16 if isinstance(dtype, str) else dtype,
    )


def refuse_unchanged(model: nn.Module, quantize: str) -> None:
    """Raise ModelRefused where quantising found no linear map of a kind it knows (GPT-2 has none)."""
    if quantize != "none" and not any(is_quantised(parameter) for parameter in model.parameters()):
        raise ModelRefused(
            f"quantize={quantize} finds nothing to make smaller in this model; load it without.",
            field="quantize",
        )


def is_quantised(parameter: Tensor) -> bool:
    """Whether `parameter` holds fewer bits than it computes with."""
    return is_wrapped(parameter) or hasattr(parameter, "quant_state") or hasattr(parameter, "SCB")


def is_wrapped(parameter: Any) -> bool:
    """Whether `parameter` is a tensor made of others, as torchao's are."""
    return is_traceable_wrapper_subclass(parameter)


def read_int8(parameter: Any) -> tuple[Tensor, Tensor] | None:
    """Numbers [d_out, d_in] and scales [d_out] of a weight that torchao keeps in int8; None for any other.

    Their product with rows is `(rows @ numbers.T) * scales`. Not for those that want the rows in int8 as well.
    """
    if not is_wrapped(parameter) or importlib.util.find_spec("torchao") is None:
        return None
    from torchao.quantization import Int8Tensor

    if not isinstance(parameter, Int8Tensor) or parameter.qdata.ndim != 2:
        return None
    treats_rows = parameter.act_quant_kwargs is not None or parameter.act_pre_scale is not None
    is_shifted = parameter.zero_point is not None and bool(parameter.zero_point.any())
    if treats_rows or is_shifted or parameter.scale.numel() != len(parameter.qdata):
        return None
    return parameter.qdata, parameter.scale.flatten().float()


def count_bytes(parameter: Tensor) -> int:
    """Bytes of a parameter as it is kept, its scales included."""
    if is_wrapped(parameter):
        names, _ = parameter.__tensor_flatten__()  # type: ignore[attr-defined]
        return sum(count_bytes(getattr(parameter, name)) for name in names)
    state = getattr(parameter, "quant_state", None)
    scales = getattr(parameter, "SCB", None) if state is None else state.absmax
    extra = scales.numel() * scales.element_size() if isinstance(scales, Tensor) else 0
    return parameter.numel() * parameter.element_size() + extra


def count_numbers(parameter: Tensor) -> int:
    """How many weights a parameter holds; packed ones count one by one."""
    return find_whole_shape(parameter).numel()


def find_whole_shape(parameter: Tensor) -> torch.Size:
    """The shape of what a parameter stands for; int4 is kept packed in another."""
    state = getattr(parameter, "quant_state", None)
    return parameter.shape if state is None else torch.Size(state.shape)


def name_format(parameter: Tensor) -> str:
    """The number format a parameter is kept in: `float32`, `bfloat16`, `int8`, `nf4`..."""
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        return str(state.quant_type)
    if is_wrapped(parameter):
        kept = getattr(parameter, "qdata", parameter)
        return str(kept.dtype).removeprefix("torch.")
    return str(parameter.dtype).removeprefix("torch.")


def read_whole(parameter: Tensor) -> Tensor:
    """A parameter as the plain floating point tensor it stands for; itself where it is not quantised.

    Costs the whole weight in memory each time. Raises ModelRefused for a format that cannot be read back.
    """
    if is_wrapped(parameter):
        if not hasattr(parameter, "dequantize"):
            raise ModelRefused("This weight is quantised in a format that cannot be read back.")
        return parameter.dequantize()
    state, scales = getattr(parameter, "quant_state", None), getattr(parameter, "SCB", None)
    whole: Tensor = parameter
    if state is not None:
        from bitsandbytes.functional import dequantize_4bit

        whole = dequantize_4bit(parameter.data, state)
    elif isinstance(scales, Tensor):
        from bitsandbytes.functional import int8_vectorwise_dequant

        whole = int8_vectorwise_dequant(parameter.data, scales)
    return whole
