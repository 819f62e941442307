"""Files and folders that are written whole or not at all: beside their place first, then renamed into it.

A write that fails, for lack of room or of rights, leaves what was there before as it was.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A name to write to, of the same ending, that takes the place of `path` at the end. Raises OSError.

    A link stays a link: what it leads to is replaced. What is no ordinary file (a pipe, a device) holds nothing that
    could be lost, and is written to directly.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    unfinished = name_beside(target)
    try:
        yield unfinished
        if target.exists():
            shutil.copymode(target, unfinished)
        unfinished.replace(target)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `target` at the end. Raises OSError.

    A link stays a link: what it leads to is replaced.
    """
    target = Path(os.path.realpath(target))
    unfinished, former = name_beside(target), name_beside(target)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if not target.exists():
            unfinished.rename(target)
            return
        target.rename(former)
        try:
            unfinished.rename(target)
        except BaseException:
            former.rename(target)
            raise
        # The new one is in place by now: a part of the old one that cannot be removed fails nobody.
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def name_beside(target: Path) -> Path:
    """A hidden name in the same folder, so that renaming moves nothing; endings stay, as some writers go by them."""
    return target.with_name(f".{secrets.token_hex(4)}.{target.name}")
