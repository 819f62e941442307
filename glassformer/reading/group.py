"""A reading as a Zarr group, for zarr-python and xarray; `message` is the whole of it, the bytes of its JSON.

Axes: `part`; `boundary` and `rank` of the words; `row`, one for each head, and `read`, the positions it reads; `pos`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glassformer.errors import ModelFailed, UnknownAddress
from glassformer.protocol.reading import Reading
from glassformer.reading.decision import Question
from glassformer.reading.kept import keep
from glassformer.reading.part_list import ORDER
from glassformer.reading.reading import decide_reading, read_decision
from glassformer.tiles.plain_group import PlainArray, PlainGroup
from glassformer.tiles.zarr_store import ZarrReply, ZarrStore, reply_from

if TYPE_CHECKING:
    from glassformer.run.run import Run

NAME = "reading"


def make_group(reading: Reading) -> PlainGroup:
    """The arrays `parts`, `lens`, `attention` and `stream`, and beside each what its numbers belong to."""
    parts, heads = reading.parts, reading.attention
    numbers = [part.expert if part.kind == "expert" else part.head for part in parts]
    arrays = {
        "parts": PlainArray(np.array([part.value for part in parts], dtype=np.float64), ("part",)),
        "part_kind": PlainArray(
            whole([ORDER.index(part.kind) for part in parts]), ("part",), {"kinds": list(ORDER)}
        ),
        "part_block": PlainArray(whole([part.block for part in parts]), ("part",)),
        "part_number": PlainArray(whole(numbers), ("part",)),
        "lens": PlainArray(
            pad([[word.probability for word in words.tokens] for words in reading.lens]), ("boundary", "rank")
        ),
        "lens_token": PlainArray(
            pad([[word.id for word in words.tokens] for words in reading.lens], np.int32),
            ("boundary", "rank"),
        ),
        "lens_chosen": PlainArray(
            np.array([words.chosen for words in reading.lens], dtype=np.float32), ("boundary",)
        ),
        "attention": PlainArray(pad([head.weights for head in heads]), ("row", "read")),
        "attention_carried": PlainArray(pad([head.carried for head in heads]), ("row", "read")),
        "attention_position": PlainArray(pad([head.positions for head in heads], np.int32), ("row", "read")),
        "attention_block": PlainArray(whole([head.block for head in heads]), ("row",)),
        "attention_head": PlainArray(whole([head.head for head in heads]), ("row",)),
        "stream": PlainArray(pad([size.rms for size in reading.stream]), ("boundary", "pos")),
    }
    message = reading.model_dump_json(exclude_none=True).encode()
    arrays["message"] = PlainArray(np.frombuffer(message, dtype=np.uint8), ("byte",))
    attributes = {
        "position": reading.position,
        "token_id": reading.token.id,
        "token": reading.token.text,
        "versus": reading.versus,
        "logit": reading.logit,
        "remainder": reading.remainder,
    }
    return PlainGroup(arrays, attributes)


def with_reading(run: Run, store: ZarrStore) -> ZarrStore:
    """A store of a run with the group of its reading, where it has one."""
    try:
        return store.with_groups({NAME: find_group(run)})
    except (ModelFailed, UnknownAddress):  # no numbers for logits, or its end is refused: all else is there
        return store


def read_group_key(run: Run, key: str) -> ZarrReply:
    """The bytes of a key inside the group of a run as it is now. Raises UnknownKey."""
    return reply_from(find_group(run), key)


def find_group(run: Run) -> PlainGroup:
    """The group of a run as it is now, kept for a while: whoever opens it asks for one key after the other."""
    decision = decide_reading(run, Question())
    return keep(run, ("group", decision), lambda: make_group(read_decision(run, decision)))


def whole(values: Sequence[int | None]) -> NDArray[Any]:
    """Whole numbers, -1 where there is none."""
    return np.array([-1 if value is None else value for value in values], dtype=np.int32)


def pad(rows: Sequence[Sequence[float]], dtype: Any = np.float32) -> NDArray[Any]:
    """Rows of one length, filled up with NaN, or -1 where they are whole numbers."""
    width = max(map(len, rows), default=0)
    found = np.full((len(rows), width), -1 if dtype is np.int32 else np.nan, dtype=dtype)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found
