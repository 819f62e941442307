"""Checkpoints that keep their matrices packed: what stands for which weight, how large it will be, and reading it.

For GPTQ, AWQ, MXFP4 and MLX, whose own kernels are fetched or compiled elsewhere: each weight is made whole when it is
read, exactly (`compute/unpacking.py`), and the model is then as any other. What does not fit together is refused from
the headers, before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glassformer.compute.unpacking import WORD_BITS, unpack_affine, unpack_awq, unpack_gptq, unpack_mxfp4
from glassformer.errors import ModelRefused
from glassformer.files.size import StoredTensor

# What belongs to one weight, by what its name ends with: first what holds the numbers, then the rest; `?` may lack.
PARTS: dict[str, tuple[str, ...]] = {
    "gptq": (".qweight", ".qzeros", ".scales", ".g_idx?"),
    "awq": (".qweight", ".qzeros", ".scales"),
    "mlx": (".weight", ".scales", ".biases"),
    "mxfp4": ("_blocks", "_scales"),
}
# What a weight is called once it is whole.
ENDINGS = {"gptq": ".weight", "awq": ".weight", "mlx": ".weight", "mxfp4": ""}
# Widths whose numbers do not lie across two words.
WHOLE_BITS = (2, 4, 8)
# Numbers of an MXFP4 block, and the bytes they are in.
BLOCK, BLOCK_BYTES = 32, 16


@dataclass(frozen=True, slots=True)
class Packed:
    """One weight: the stored parts it is made of by their endings, and what they say of it."""

    name: str
    method: str
    bits: int
    shape: tuple[int, ...]
    dtype: str
    parts: Mapping[str, str]
    is_zero_less_one: bool = False
    group: int = 0

    @property
    def kept_as(self) -> str:
        """For people: how the file keeps it."""
        return "MXFP4" if self.method == "mxfp4" else f"{self.method.upper()} {self.bits} bit"


class Unpacked:
    """What transformers reads in place of a stored tensor: made whole when it is indexed, which it does once."""

    __slots__ = ("packed", "tensors")

    def __init__(self, packed: Packed, tensors: Mapping[str, Any]) -> None:
        self.packed = packed
        self.tensors = tensors

    def get_shape(self) -> list[int]:
        return list(self.packed.shape)

    def get_dtype(self) -> str:
        return self.packed.dtype

    def __getitem__(self, index: Any) -> Tensor:
        packed = self.packed
        parts = {ending: self.tensors[name][...] for ending, name in packed.parts.items()}
        return unpack(packed, parts)[index]


def unpack(packed: Packed, parts: Mapping[str, Tensor]) -> Tensor:
    """The weight in float32. Raises ModelRefused where what says the group of an input points nowhere."""
    if packed.method == "mxfp4":
        return unpack_mxfp4(parts["_blocks"], parts["_scales"])
    if packed.method == "mlx":
        return unpack_affine(parts[".weight"], parts[".scales"], parts[".biases"], bits=packed.bits)
    if packed.method == "awq":
        return unpack_awq(parts[".qweight"], parts[".qzeros"], parts[".scales"])
    groups = parts.get(".g_idx")
    if groups is None:
        groups = torch.arange(packed.shape[1]) // packed.group
    if int(groups.min()) < 0 or int(groups.max()) >= len(parts[".scales"]):
        raise misfit(packed.name, "its inputs belong to groups that it does not have")
    return unpack_gptq(
        parts[".qweight"],
        parts[".qzeros"],
        parts[".scales"],
        groups,
        bits=packed.bits,
        is_zero_less_one=packed.is_zero_less_one,
    )


def find_packed(
    stored: Iterable[StoredTensor], method: str, settings: Mapping[str, Any]
) -> dict[str, Packed]:
    """The packed weights among `stored`, by their name once whole. `settings` are those of the config.

    Raises ModelRefused for what does not fit together, or is of a kind of the format that is not read here.
    """
    check_settings(method, settings)
    known = {tensor.name: tensor for tensor in stored}
    first, *others = PARTS[method]
    found: dict[str, Packed] = {}
    for name in known:
        base = name.removesuffix(first)
        if base == name or (method == "mlx" and f"{base}.scales" not in known):
            continue
        parts = {first: name}
        for other in others:
            ending = other.removesuffix("?")
            if f"{base}{ending}" in known:
                parts[ending] = f"{base}{ending}"
            elif ending == other:
                raise misfit(base, f"it has no {ending[1:]}")
        tensors = {ending: known[part] for ending, part in parts.items()}
        whole = f"{base}{ENDINGS[method]}"
        found[whole] = measure(whole, method, tensors, settings)
    return found


def check_settings(method: str, settings: Mapping[str, Any]) -> None:
    """Raise ModelRefused for a kind of a format that is laid out otherwise."""
    kinds = {
        "gptq": ("checkpoint_format", ("gptq", "gptq_v2")),
        "awq": ("version", ("gemm",)),
        "mlx": ("mode", ("affine",)),
    }
    name, known = kinds.get(method, ("", ()))
    kind = settings.get(name)
    if name and kind is not None and str(kind).lower() not in known:
        raise ModelRefused(
            f"The model is quantised with {method} of the kind {str(kind)[:40]!r} ({name}), which is not read here; "
            f"{' and '.join(known)} can be. Its weights in 16 bits, or a GGUF of it, can be loaded."
        )
    bits = settings.get("bits", 4)
    if method != "mxfp4" and bits not in (WHOLE_BITS if method != "awq" else (4,)):
        raise ModelRefused(
            f"The model is quantised with {method} in {str(bits)[:10]} bits, which is not read here. Its weights in 16 "
            "bits, or a GGUF of it, can be loaded."
        )


def measure(name: str, method: str, parts: Mapping[str, StoredTensor], settings: Mapping[str, Any]) -> Packed:
    """What the headers of a weight's parts say of it. Raises ModelRefused where they contradict each other."""
    shapes = {ending: part.shape for ending, part in parts.items()}
    names = {ending: part.name for ending, part in parts.items()}
    if method == "mxfp4":
        blocks, scales = shapes["_blocks"], shapes["_scales"]
        if len(blocks) != 4 or blocks[3] != BLOCK_BYTES or scales != blocks[:3]:
            raise misfit(name, f"blocks of {list(blocks)} with scales of {list(scales)}")
        whole: tuple[int, ...] = (blocks[0], blocks[2] * BLOCK, blocks[1])
        return Packed(name, method, 4, whole, "BF16", names)
    scales, dtype = shapes[".scales"], parts[".scales"].dtype
    if method == "mlx":
        words = shapes[".weight"]
        # The same whatever the config says of this one layer.
        bits, length = find_affine(name, words, scales, settings)
        fits = shapes[".biases"] == scales and parts[".weight"].dtype == "U32"
        whole = (*words[:-1], words[-1] * WORD_BITS // bits)
        fits = fits and len(words) == len(scales) >= 2 and words[:-1] == scales[:-1]
        fits = fits and scales[-1] * length == whole[-1]
        if not fits:
            raise misfit(name, f"numbers of {list(words)} with scales of {list(scales)}")
        return Packed(name, method, bits, whole, dtype, names)
    words, zeros = shapes[".qweight"], shapes[".qzeros"]
    if not len(words) == len(zeros) == len(scales) == 2:
        raise misfit(name, f"numbers of {list(words)} with scales of {list(scales)}")
    groups, d_out = scales
    if method == "awq":
        d_in, bits, fits = words[0], 4, words[1] * 8 == d_out
    else:
        bits = find_gptq_bits(zeros, d_out, settings)
        d_in, fits = words[0] * WORD_BITS // bits, words[1] == d_out
    fits = fits and zeros == (groups, d_out * bits // WORD_BITS) and groups > 0
    group = find_group(settings, d_in)
    fits = fits and (shapes[".g_idx"] == (d_in,) if ".g_idx" in shapes else groups == -(-d_in // group))
    if method == "awq":
        fits = fits and d_in % max(1, groups) == 0
    if not fits:
        raise misfit(name, f"numbers of {list(words)}, zeros of {list(zeros)} and scales of {list(scales)}")
    less_one = method == "gptq" and str(settings.get("checkpoint_format")).lower() != "gptq_v2"
    return Packed(name, method, bits, (d_out, d_in), dtype, names, less_one, group)


def find_gptq_bits(zeros: tuple[int, ...], d_out: int, settings: Mapping[str, Any]) -> int:
    """How wide the numbers of one layer are, which may differ from the rest's (`dynamic`): its zeros tell."""
    told = zeros[1] * WORD_BITS // max(1, d_out)
    return told if told in WHOLE_BITS else int(settings.get("bits", 4))


def find_group(settings: Mapping[str, Any], d_in: int) -> int:
    """How many inputs share a scale; all of them where the config says -1."""
    length = settings.get("group_size", 128)
    return length if isinstance(length, int) and length > 0 else d_in


def find_affine(
    name: str, words: tuple[int, ...], scales: tuple[int, ...], settings: Mapping[str, Any]
) -> tuple[int, int]:
    """The bits and the length of a group of one of MLX's layers, which the config may state for itself alone."""
    own = settings.get(name.removesuffix(".weight"))
    chosen = {**settings, **(own if isinstance(own, dict) else {})}
    check_settings("mlx", chosen)
    bits, length = chosen.get("bits", 4), chosen.get("group_size", 64)
    if not isinstance(length, int) or length <= 0 or not words or not scales:
        raise misfit(name, f"groups of {length!r}")
    return int(bits), length


def misfit(name: str, reason: str) -> ModelRefused:
    return ModelRefused(f"The packed weight {name[:120]!r} does not fit together: {reason}.")


def list_kept(stored: Iterable[StoredTensor], settings: Mapping[str, Any]) -> dict[str, str]:
    """How weights are kept that a library makes whole (FP8, compressed-tensors), by name, for people."""
    found: dict[str, str] = {}
    for tensor in stored:
        base, _, last = tensor.name.rpartition(".")
        if last == "weight" and tensor.dtype.startswith(("F8", "I8")):
            found[tensor.name] = "FP8" if tensor.dtype.startswith("F8") else "INT8"
        elif last == "weight_packed":
            bits = {
                group["weights"].get("num_bits")
                for group in (settings.get("config_groups") or {}).values()
                if isinstance(group, dict) and isinstance(group.get("weights"), dict)
            }
            width = f" {bits.pop()} bit" if len(bits) == 1 else ""
            found[f"{base}.weight"] = f"compressed-tensors{width}"
    return found


def list_whole(stored: Iterable[StoredTensor], packed: Mapping[str, Packed]) -> list[StoredTensor]:
    """What `stored` is once what is packed in it is whole."""
    used = {part for one in packed.values() for part in one.parts.values()}
    left = [tensor for tensor in stored if tensor.name not in used]
    return [*left, *(StoredTensor(one.name, one.dtype, one.shape) for one in packed.values())]


def open_whole(tensors: Mapping[str, Any], packed: Mapping[str, Packed]) -> dict[str, Any]:
    """The tensors of a checkpoint by name, with each packed weight in place of its parts; nothing is read yet."""
    used = {part for one in packed.values() for part in one.parts.values()}
    left = {name: tensor for name, tensor in tensors.items() if name not in used}
    return left | {name: Unpacked(one, tensors) for name, one in packed.items()}
