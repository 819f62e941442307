"""What a GGUF file says of itself, read with bounds: a file that is cut or lies is told so, and nothing is built on it.

Numbers, texts and short lists of its metadata are kept, of long lists (a vocabulary) the length alone, and of each
tensor where it lies and how it is stored. No weight is read. The format is that of ggml's docs/gguf.md, versions 2
and 3, little-endian; models in several files are those of llama.cpp's gguf-split.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassformer.errors import ModelRefused

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# How ggml stores tensors: the number of a type, its name, numbers in a block and the bytes that a block takes.
STORED_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
FLOAT_TYPES = frozenset({"F32", "F16", "BF16", "F64"})

# Values of metadata by the number of their type.
SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
STRING, ARRAY = 8, 9
COUNT = SCALARS[10]

# No honest file has more. A vocabulary has some hundred thousand tokens, a model some ten thousand tensors.
MOST_KEYS = 2**16
MOST_TENSORS = 2**18
MOST_ENTRIES = 2**23
MOST_NUMBERS = 2**42
MOST_PARTS = 1000
LONGEST_NAME = 2**10
LONGEST_TEXT = 2**22
# Lists that are kept whole: a number for each block, the names of languages.
LONGEST_LIST = 2**12

Value = int | float | bool | str | list[int | float | bool] | None
"""A value of the metadata; None for a list that is not kept."""

# What a model's own numbers may be, by the ends of their names.
MOST_SAID = 2**31
LARGEST_VALUES = {
    ".block_count": 2**12,
    ".expert_count": 2**12,
    ".expert_used_count": 2**12,
    "head_count": 2**14,
}
BLOCK = re.compile(r"(?:^|\.)blk\.(\d+)\.")
PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: `shape` as PyTorch says it, `stored` ggml's name of its type, `start` counted in `file`."""

    name: str
    stored: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stored_bytes: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the files of one model say.

    `lengths` are those of the lists in the metadata, `entries` where in the first file each key's bytes are.
    """

    files: tuple[Path, ...]
    metadata: dict[str, Value]
    lengths: dict[str, int]
    entries: dict[str, tuple[int, int]]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    def own(self, key: str) -> Value:
        """A value of the architecture's own, such as `block_count`; None where there is none."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def read_list(self, key: str) -> list[Any] | None:
        """A list of the metadata, read now; None where there is none. The file must be as it was."""
        if key not in self.lengths:
            return None
        begin, end = self.entries[key]
        with self.files[0].open("rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
        at = COUNT.size + len(key.encode()) + 4
        kind = int.from_bytes(data[at : at + 4], "little")
        at += 4 + COUNT.size
        if kind != STRING:
            return list(struct.unpack_from(f"<{self.lengths[key]}{SCALARS[kind].format[1]}", data, at))
        found = []
        for _ in range(self.lengths[key]):
            at, length = at + COUNT.size, COUNT.unpack_from(data, at)[0]
            found.append(data[at : at + length].decode())
            at += length
        return found

    @property
    def stored_bytes(self) -> int:
        return sum(tensor.stored_bytes for tensor in self.tensors)

    @property
    def main_type(self) -> str:
        """The type in which most of the numbers are stored."""
        numbers: dict[str, int] = {}
        for tensor in self.tensors:
            numbers[tensor.stored] = numbers.get(tensor.stored, 0) + tensor.numbers
        return max(numbers, key=lambda name: numbers[name])


class Cut(Exception):
    """The file ends where more was announced."""


class Cursor:
    """Reads one value after the other, never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def read(self, kind: struct.Struct) -> int:
        start = self.at
        self.skip(kind.size)
        value: int = kind.unpack_from(self.data, start)[0]
        return value

    def skip(self, count: int) -> int:
        """Go on by `count` bytes that must be there; where they began."""
        start = self.at
        if count > self.end - start:
            raise Cut
        self.at += count
        return start

    def text(self, longest: int) -> str:
        length = self.read(COUNT)
        if length > longest:
            raise Cut if length > self.end - self.at else lie(f"a text of {length:,} bytes")
        start = self.skip(length)
        try:
            return self.data[start : self.at].decode()
        except UnicodeDecodeError:
            raise lie("a text that is no UTF-8") from None


def read_gguf(path: Path) -> GgufHeader:
    """What the model in `path` says, the first of its files where it has several. Raises ModelRefused."""
    paths = find_parts(path)
    header = _read_file(paths[0])
    said = header.metadata.get("split.count")
    if len(paths) == 1:
        if isinstance(said, int) and said > 1:
            raise ModelRefused(
                f"The GGUF is one of {said} parts, and its name does not say which: a name ends in "
                "-00001-of-00003.gguf."
            )
    else:
        others = [_read_file(other) for other in paths[1:]]
        tensors = tuple(tensor for part in (header, *others) for tensor in part.tensors)
        header = GgufHeader(tuple(paths), header.metadata, header.lengths, header.entries, tensors)
    check_whole(header)
    return header


def find_parts(path: Path) -> list[Path]:
    """The files of the model that begins with `path`. Raises ModelRefused where one is lacking."""
    found = PART.fullmatch(path.name)
    if found is None:
        return [path]
    count = int(found["count"])
    if not 1 <= count <= MOST_PARTS or int(found["number"]) != 1:
        raise ModelRefused("The GGUF is a part of a model; name its first part, that of number 00001.")
    names = [f"{found['stem']}-{number:05}-of-{found['count']}.gguf" for number in range(1, count + 1)]
    lacking = [name for name in names if not path.with_name(name).is_file()]
    if lacking:
        raise ModelRefused(f"The GGUF lacks {len(lacking)} of its {count} parts, first {lacking[0]!r}.")
    return [path.with_name(name) for name in names]


def check_whole(header: GgufHeader) -> None:
    """Raise ModelRefused for a header that describes no model."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelRefused("The GGUF does not say its architecture (general.architecture).")
    if not header.tensors:
        raise ModelRefused("The GGUF holds no weights.")
    names = [tensor.name for tensor in header.tensors]
    if len(set(names)) != len(names):
        raise ModelRefused("The GGUF holds a tensor twice.")
    for key, value in header.metadata.items():
        most = next((most for ending, most in LARGEST_VALUES.items() if key.endswith(ending)), MOST_SAID)
        if key.startswith(f"{architecture}.") and isinstance(value, int) and value > most:
            raise lie(f"{key} = {value:,}")
    blocks = {found[1] for name in names if (found := BLOCK.search(name))}
    said = header.own("block_count")
    if isinstance(said, int) and blocks and said > len(blocks):
        raise ModelRefused(f"The GGUF announces {said:,} blocks and holds {len(blocks)}.")
    said = header.metadata.get("split.tensors.count")
    if isinstance(said, int) and said != len(names):
        raise ModelRefused(f"The parts of the GGUF hold {len(names)} tensors, and {said} are announced.")


def _read_file(path: Path) -> GgufHeader:
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ModelRefused(_describe_start(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read_header(path, Cursor(data))
    except Cut:
        raise ModelRefused("The GGUF is cut off: it ends before what it announces.") from None
    except (OSError, ValueError) as exc:
        raise ModelRefused("The GGUF cannot be read.") from exc


def _describe_start(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "The GGUF is a pointer of Git LFS, not the file itself: fetch it with git lfs pull."
    return "The file is no GGUF, whatever its name says: it does not begin as one."


def _read_header(path: Path, cursor: Cursor) -> GgufHeader:
    cursor.skip(len(MAGIC))
    version = cursor.read(SCALARS[4])
    if version not in VERSIONS:
        if version & 0xFFFF == 0:
            raise ModelRefused("The GGUF is big-endian, which is not read here.")
        raise ModelRefused(f"The GGUF is of version {version}; versions 2 and 3 are read.")
    tensor_count, key_count = cursor.read(COUNT), cursor.read(COUNT)
    # Each key and each tensor takes some bytes: more than the file could hold are never waited for.
    _bound(tensor_count, MOST_TENSORS, 24, cursor, "tensors")
    _bound(key_count, MOST_KEYS, 13, cursor, "keys")
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    entries: dict[str, tuple[int, int]] = {}
    for _ in range(key_count):
        start = cursor.at
        key = cursor.text(LONGEST_NAME)
        if key in metadata:
            raise lie(f"the key {key!r} twice")
        kind = cursor.read(SCALARS[4])
        if kind == ARRAY:
            lengths[key], metadata[key] = _read_list(cursor)
        else:
            metadata[key] = _read_value(cursor, kind)
        entries[key] = (start, cursor.at)
    rows = [_read_tensor(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise lie(f"an alignment of {alignment!r} bytes")
    begin = -(-cursor.at // alignment) * alignment
    tensors = tuple(_place(path, row, begin, cursor.end) for row in rows)
    return GgufHeader((path,), metadata, lengths, entries, tensors)


def _read_value(cursor: Cursor, kind: int) -> Value:
    if kind == STRING:
        return cursor.text(LONGEST_TEXT)
    if kind not in SCALARS:
        raise lie(f"a value of type {kind}, which there is not")
    return cursor.read(SCALARS[kind])


def _read_list(cursor: Cursor) -> tuple[int, Value]:
    kind, count = cursor.read(SCALARS[4]), cursor.read(COUNT)
    if kind == STRING:
        _bound(count, MOST_ENTRIES, COUNT.size, cursor, "entries of a list")
        for _ in range(count):
            cursor.skip(cursor.read(COUNT))
        return count, None
    if kind not in SCALARS:
        raise lie(f"a list of values of type {kind}")
    _bound(count, MOST_ENTRIES, SCALARS[kind].size, cursor, "entries of a list")
    if count > LONGEST_LIST:
        cursor.skip(count * SCALARS[kind].size)
        return count, None
    return count, [cursor.read(SCALARS[kind]) for _ in range(count)]


def _read_tensor(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text(LONGEST_NAME)
    axes = cursor.read(SCALARS[4])
    if not 1 <= axes <= 4:
        raise lie(f"a tensor of {axes} axes, {name!r}")
    # ggml names the quickest axis first.
    shape = tuple(reversed([cursor.read(COUNT) for _ in range(axes)]))
    return name, shape, cursor.read(SCALARS[4]), cursor.read(COUNT)


def _place(path: Path, row: tuple[str, tuple[int, ...], int, int], begin: int, end: int) -> GgufTensor:
    name, shape, kind, offset = row
    if kind not in STORED_TYPES:
        raise ModelRefused(f"The GGUF stores {name!r} as type {kind}, which is not known here.")
    stored, block, block_bytes = STORED_TYPES[kind]
    numbers = math.prod(shape)
    if not 1 <= numbers <= MOST_NUMBERS or shape[-1] % block:
        raise lie(f"the tensor {name!r} of shape {list(shape)} as {stored}")
    stored_bytes = numbers // block * block_bytes
    if offset > end or begin + offset + stored_bytes > end:
        raise ModelRefused(
            f"The GGUF is cut off, or lies about its sizes: {name!r} would end {begin + offset + stored_bytes - end:,} "
            "bytes after the file does."
        )
    return GgufTensor(name, stored, shape, path, begin + offset, stored_bytes)


def _bound(count: int, most: int, least_bytes: int, cursor: Cursor, what: str) -> None:
    if count * least_bytes > cursor.end - cursor.at or count > most:
        raise lie(f"{count:,} {what}")


def lie(what: str) -> ModelRefused:
    return ModelRefused(f"The GGUF is cut off or damaged: it announces {what}.")
