"""Plain files within limits: what else stands where a model's file should (a pipe, a link in a circle, a gigabyte of
nothing) is told, never read.

The limits are several times the largest that published models have. docs/settings.md lists them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from glassformer.errors import ModelRefused
from glassformer.files.size import format_bytes

MIB = 2**20
# The first that fits a name. Other names are read by nobody, or piece by piece (weights).
LIMITS: tuple[tuple[str, int], ...] = (
    ("config.json", 4 * MIB),
    ("generation_config.json", MIB),
    ("adapter_config.json", 4 * MIB),
    ("tokenizer.json", 128 * MIB),
    ("tokenizer_config.json", 32 * MIB),
    ("special_tokens_map.json", 4 * MIB),
    ("added_tokens.json", 32 * MIB),
    ("chat_template.json", MIB),
    ("vocab.json", 64 * MIB),
    ("vocab.txt", 64 * MIB),
    ("merges.txt", 64 * MIB),
    ("*.index.json", 64 * MIB),
    ("*.model", 64 * MIB),
    ("*.tiktoken", 64 * MIB),
    ("*.jinja", MIB),
)
# For any other JSON that is read whole.
LARGEST_JSON_BYTES = 32 * MIB


def find_limit(name: str) -> int | None:
    """The most bytes that a file of that name may have; None where nothing reads it whole."""
    return next((limit for pattern, limit in LIMITS if fnmatch(name, pattern)), None)


def refuse_unfit(paths: Iterable[Path]) -> None:
    """Raise ModelRefused where one of the files that may be read is no plain file or too large to be one."""
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            raise ModelRefused(f"The model's {path.name[:80]!r} is a link that leads to no file.") from None
        if stat.S_ISDIR(found.st_mode):
            continue
        if not stat.S_ISREG(found.st_mode):
            raise ModelRefused(f"The model's {path.name[:80]!r} is not a plain file.")
        refuse_size(path.name, found.st_size, find_limit(path.name))


def read_plain(path: Path, name: str) -> bytes:
    """The whole of a plain file within its limit. Raises ModelRefused, calling it `name`, or OSError."""
    # A pipe would have us wait until somebody writes into it.
    with open(path, "rb", opener=lambda place, flags: os.open(place, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ModelRefused(f"The model's {name} is not a plain file.")
        limit = find_limit(name) or LARGEST_JSON_BYTES
        refuse_size(name, found.st_size, limit)
        return file.read(limit)


def refuse_size(name: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise ModelRefused(
            f"The model's {name[:80]} is too large to be one: it has {format_bytes(size)}, and at most "
            f"{format_bytes(limit)} are read."
        )
