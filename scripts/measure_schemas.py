"""How many JSON schemas in the wild can be held, and whether what is held is right.

Reads a copy of the public collection JSONSchemaBench (github.com/guidance-ai/jsonschemabench, folder `maskbench/data`):
schemas of programs, of functions that models are to call and by hand, many with texts that fit and texts that do not.
Each is compiled as a request's would be, with the vocabulary of `tales`; each text is walked through it token by token.

    python scripts/measure_schemas.py FOLDER [--every 10] > table.md

Prints the tables of docs/schemas.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pydantic import ValidationError  # noqa: E402

from glassformer.engine.constraint import make_matcher  # noqa: E402
from glassformer.errors import BadValue  # noqa: E402
from glassformer.files.catalog import Catalog  # noqa: E402
from glassformer.loading.load import load_model  # noqa: E402
from glassformer.loading.loaded import LoadedModel  # noqa: E402
from glassformer.protocol.messages import Constraint  # noqa: E402


@dataclass
class Found:
    """What became of one collection's schemas."""

    schemas: int = 0
    held: int = 0
    right: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    texts: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    compile_secs: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=10, help="one schema of so many")
    options = parser.parse_args()
    source = Catalog().find("tales")
    assert source.folder is not None
    loaded = load_model(source, source.folder, device="cpu")
    make_matcher(Constraint(regex="x"), loaded)  # the vocabulary's trie is made once
    found: dict[str, Found] = {}
    reasons: Counter[str] = Counter()
    largest = (0, 0.0)
    for path in sorted(options.folder.glob("*.json"))[:: options.every]:
        collection = path.name.partition("---")[0].partition("_")[0]
        sample = json.loads(path.read_text())
        told = found.setdefault(collection, Found())
        size = len(json.dumps(sample["schema"]))
        secs, reason = measure(sample, told, loaded)
        if reason:
            reasons[reason] += 1
        elif size > largest[0]:
            largest = size, secs
    print_tables(found, reasons, largest)


def measure(sample: dict[str, Any], told: Found, loaded: LoadedModel) -> tuple[float, str | None]:
    """How long one schema took to compile, and why it was refused, if it was."""
    told.schemas += 1
    started = time.perf_counter()
    try:
        constraint = Constraint(json_schema=sample["schema"])
        make_matcher(constraint, loaded)
    except (BadValue, ValidationError) as error:
        return 0.0, shorten(error.message if isinstance(error, BadValue) else "is no object")
    secs = time.perf_counter() - started
    told.held += 1
    told.compile_secs.append(secs)
    for test in sample["tests"]:
        text = json.dumps(test["data"], ensure_ascii=False)
        if len(text) > 4000:
            continue
        is_valid = bool(test["valid"])
        told.texts[is_valid] += 1
        told.right[is_valid] += fits(constraint, text, loaded) == is_valid
    return secs, None


def fits(constraint: Constraint, text: str, loaded: LoadedModel) -> bool:
    """Whether the text can be written under the constraint and may end there."""
    matcher = make_matcher(constraint, loaded)
    try:
        matcher.consume(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
        allowed = matcher.allowed(loaded.vocab)
    except BadValue:
        return False
    return bool(allowed[list(loaded.eos_ids)].any())


def shorten(reason: str) -> str:
    """The reason without what differs from schema to schema."""
    reason = reason.removeprefix("The constraint cannot be used: ").partition(" at ")[0].rstrip(".")
    return reason.split(":")[0].split(" '")[0][:60]


def print_tables(found: dict[str, Found], reasons: Counter[str], largest: tuple[int, float]) -> None:
    print(
        "| collection | schemas | held | texts that fit, allowed | that do not, refused | compiled in (median, worst) |"
    )
    print("|---|---|---|---|---|---|")
    for name, told in sorted(found.items(), key=lambda item: -item[1].schemas):
        median = statistics.median(told.compile_secs) if told.compile_secs else 0.0
        print(
            f"| {name} | {told.schemas} | {told.held} ({told.held / told.schemas:.0%}) "
            f"| {told.right[True]} of {told.texts[True]} | {told.right[False]} of {told.texts[False]} "
            f"| {1000 * median:.1f} ms, {1000 * max(told.compile_secs, default=0):.0f} ms |"
        )
    print(
        f"\nThe largest that is held has {largest[0]:,} characters and compiles in {1000 * largest[1]:.0f} ms.\n"
    )
    print("| refused because | schemas |")
    print("|---|---|")
    for reason, count in reasons.most_common(16):
        print(f"| {reason} | {count} |")


if __name__ == "__main__":
    main()
