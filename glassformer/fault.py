"""What a library said when it failed, fit to be read by anybody: no folders, no addresses, never endless.

Libraries write for the person who called them; what they say ends up in answers and in logs.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

LEFT_OUT = "(left out)"
# Addresses, and folders from two parts on (`and/or` is none), as either kind of system writes them.
PLACE = re.compile(r"\w+://\S+|(?<!\w)[~.]?(?:/[^\s/'\"]+){2,}/?|(?<!\w)[A-Za-z]:\\[^\s'\"]+")
# What was handed over stands in quotes, as `repr` writes it; pydantic gives it behind a name of its own.
QUOTED = re.compile(
    r"(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)\"(?:[^\"\\]|\\.)*\"|\binput_value=.*?(?=, input_type=)"
)
MOST_MESSAGE_CHARACTERS = 500
# Of each exception, the calls nearest to where it was raised, and the exceptions that led to one another.
MOST_CALLS = 25
MOST_CAUSES = 5


def describe(fault: BaseException, *, folder: Path | None = None, most: int = MOST_MESSAGE_CHARACTERS) -> str:
    """A library's whole message in one line of at most `most` characters; `folder` is called the model."""
    message = str(fault).strip() or type(fault).__name__
    if folder is not None:
        message = message.replace(str(folder), "the model")
    return shorten(" ".join(PLACE.sub(LEFT_OUT, message).split()), most)


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2].rstrip() + " …"


def describe_calls(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """A traceback for the log. No values of variables, nothing that a message quotes: keys and prompts are among them.

    Files are named from where they are imported, so that nobody's folders are told.
    """
    parts = []
    for cause, link in follow_causes(exc_info[1]):
        message = QUOTED.sub(LEFT_OUT, str(cause))
        message = shorten(" ".join(PLACE.sub(LEFT_OUT, message).split()), MOST_MESSAGE_CHARACTERS)
        name = type(cause).__qualname__ + (f": {message}" if message else "")
        parts.append("\n".join([*describe_frames(cause.__traceback__), name, *link]))
    return "\n\n".join(reversed(parts))


def follow_causes(fault: BaseException) -> Iterator[tuple[BaseException, list[str]]]:
    """`fault` and what led to it, with the sentence that stands between it and the one told after it."""
    met: set[int] = set()
    found: BaseException | None = fault
    link: list[str] = []
    while found is not None and id(found) not in met and len(met) < MOST_CAUSES:
        met.add(id(found))
        yield found, link
        if found.__cause__ is not None:
            found, link = found.__cause__, ["", "which led to:"]
        elif not found.__suppress_context__:
            found, link = found.__context__, ["", "and while that was handled:"]
        else:
            found = None


def describe_frames(traceback: TracebackType | None) -> list[str]:
    """Each call with its line of source; of many, the last."""
    calls: list[str] = []
    while traceback is not None:
        frame, line = traceback.tb_frame, traceback.tb_lineno
        file = frame.f_code.co_filename
        source = linecache.getline(file, line, frame.f_globals).strip()
        calls.append(
            f"  {name_file(file)}:{line} in {frame.f_code.co_qualname}"
            + (f"\n    {shorten(source, 200)}" if source else "")
        )
        traceback = traceback.tb_next
    left_out = len(calls) - MOST_CALLS
    kept = calls[-MOST_CALLS:] if left_out <= 0 else [f"  {left_out} calls left out", *calls[-MOST_CALLS:]]
    return ["Traceback (the last call is the one that failed):", *kept] if kept else []


def name_file(file: str) -> str:
    """A source file as Python finds it, without the folder it was installed in."""
    path = Path(file)
    for root in sorted(filter(None, sys.path), key=len, reverse=True):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
