"""How large a model will be in memory, from the headers of its weight files alone. No torch, no weights read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from glassformer.errors import ModelRefused

# Number formats of safetensors that loading converts to the chosen one; all others (whole numbers, 8-bit floats)
# belong to quantised weights and stay as they are stored.
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32} | {
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
DTYPE_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
# int4 keeps one 32-bit scale for each 64 weights (bitsandbytes' default block).
INT4_BYTES = 0.5 + 4 / 64
# What safetensors says of its tensors, before their numbers: a hundred thousand of them take a tenth.
LARGEST_HEADER_BYTES = 24 * 2**20


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a weight file: its name, safetensors' name of its number format, its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def stored_bytes(self) -> int:
        return math.ceil(self.numbers * BITS.get(self.dtype, 32) / 8)


def read_headers(weights: Iterable[Path]) -> list[StoredTensor]:
    """The tensors in `weights`. Raises ModelRefused for a file that is damaged."""
    found = []
    for path in weights:
        refuse_long_header(path)
        try:
            with safe_open(path, framework="np") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    part = tensors.get_slice(name)
                    found.append(StoredTensor(name, str(part.get_dtype()), tuple(part.get_shape())))
        except (SafetensorError, OSError) as exc:
            raise ModelRefused("The model's weight files are damaged or cut off.") from exc
    return found


def refuse_long_header(path: Path) -> None:
    """Raise ModelRefused for a safetensors file whose header is longer than any model's."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError:
        return  # whoever reads it says so
    if LARGEST_HEADER_BYTES < length <= path.stat().st_size:
        raise ModelRefused(
            f"The model's {path.name[:80]} lists its tensors in {format_bytes(length)}, and at most "
            f"{format_bytes(LARGEST_HEADER_BYTES)} are read."
        )


def estimate_bytes(
    tensors: Iterable[StoredTensor],
    *,
    dtype: str | None,
    quantize: str = "none",
    vocab: int | None = None,
    tied: bool = False,
) -> int:
    """Bytes the weights take in memory.

    `dtype` is the format floating point weights are converted to, None where they stay as stored. With `tied`
    embeddings the table of `vocab` rows counts once, even where the files hold it twice. `quantize` shrinks the
    linear maps: matrices that are neither a table of the vocabulary nor an expert's.
    """
    total = 0.0
    tables: set[tuple[int, ...]] = set()
    for tensor in tensors:
        is_table = len(tensor.shape) == 2 and tensor.shape[0] == vocab
        if is_table and tied:
            if tensor.shape in tables:
                continue
            tables.add(tensor.shape)
        if tensor.dtype not in FLOATS:
            total += tensor.stored_bytes
            continue
        width = DTYPE_BYTES[dtype] if dtype else tensor.stored_bytes / max(1, tensor.numbers)
        is_map = len(tensor.shape) == 2 and not is_table and "experts" not in tensor.name
        if is_map and quantize == "int8":
            total += tensor.numbers + tensor.shape[0] * width
        elif is_map and quantize == "int4":
            total += tensor.numbers * INT4_BYTES
        else:
            total += tensor.numbers * width
    return math.ceil(total)


def format_bytes(count: float) -> str:
    """`count` bytes for people, in decimal units: "13.5 GB", "340 MB", "12 kB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def describe_download(done: int, total: int) -> dict[str, float | int | str | None]:
    """How far a download is, as a `LoadProgress` says it; `total` is 0 while that is not known."""
    return {
        "fraction": min(1.0, done / total) if total else None,
        "detail": f"{format_bytes(done)} of {format_bytes(total)}",
        "done_bytes": done,
        "total_bytes": total,
    }
