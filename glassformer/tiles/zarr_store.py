"""A Zarr v3 store answered on demand: keys in, bytes out (Zarr core specification 3.0).

Layout in `protocol/SPEC.md`: a group with consolidated metadata, a group for each address, an array for each level.
Knows arrays only through `ArrayView`. Costs one chunk of memory for each answer, what `read_level` states for one of
a coarse level, and the cache it is given.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from glassformer.budget import ByteCache
from glassformer.errors import UnknownKey
from glassformer.tiles.level import Array, Pooling, Region, count_levels, level_shape, read_level
from glassformer.tiles.metadata import array_text, group_text
from glassformer.tiles.plain_group import PlainGroup

ROWS, COLUMNS, PATTERN_SIDE = 64, 512, 64
# Leading axes of which a picture shows one index at a time: whoever looks at one head is not sent the others.
SINGLE = frozenset({"head", "kv_head", "expert"})
# One spelling for one chunk, or caches would keep it several times.
CHUNK_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# Axes that get longer while a model writes.
GROWING = frozenset({"pos", "query", "key"})
# Attributes of an address that each of its levels repeats, so that an array alone says what its numbers are.
SHARED_ATTRIBUTES = ("units", "provenance")
JSON_TYPE, BYTES_TYPE = "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ArrayView:
    """One array of the store; `read` gives float32 cells of a region of level 0.

    Levels finer than `first_level` are left out of the store: what an export of coarse weights holds.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    read: Callable[[Region], Array]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    first_level: int = 0


@dataclass(frozen=True, slots=True)
class ZarrReply:
    """The bytes of a key, and a strong ETag over them, which changes whenever they do."""

    body: bytes
    etag: str
    media_type: str


class ZarrStore:
    """The keys of a set of arrays; `growing` says whether arrays may still get more rows.

    `groups` are small ones without levels beside the arrays. `coarse` keeps chunks of coarse levels, which cost a pass
    over the cells below them. Safe to ask from several threads as long as the arrays are.
    """

    def __init__(
        self,
        arrays: Mapping[str, ArrayView],
        attributes: Mapping[str, Any],
        *,
        growing: bool,
        coarse: ByteCache[str, bytes] | None = None,
        groups: Mapping[str, PlainGroup] | None = None,
    ) -> None:
        self._groups = dict(groups or {})
        self._arrays = arrays
        self._attributes = dict(attributes)
        self._growing = growing
        self._coarse = coarse
        self._root: ZarrReply | None = None

    def settle(self) -> ZarrStore:
        """The same arrays as they are now, for good: chunks end where the arrays do, and never change."""
        if not self._growing:
            return self
        return ZarrStore(self._arrays, self._attributes, growing=False, groups=self._groups)

    def with_groups(self, groups: Mapping[str, PlainGroup]) -> ZarrStore:
        """The same with small groups beside the arrays."""
        everything = {**self._groups, **groups}
        return ZarrStore(
            self._arrays, self._attributes, growing=self._growing, coarse=self._coarse, groups=everything
        )

    def with_first_levels(self, levels: Mapping[str, int]) -> ZarrStore:
        """The same without the levels of an array that are finer than the one named for it."""
        arrays = {
            name: replace(view, first_level=min(max(view.first_level, level), count_levels(view.shape) - 1))
            for name, view, level in (
                (name, view, levels.get(name, 0)) for name, view in self._arrays.items()
            )
        }
        return ZarrStore(arrays, self._attributes, growing=self._growing, groups=self._groups)

    def count_bytes(self, name: str) -> int:
        """Bytes of all chunks of an array, padding included, metadata not."""
        view = self._arrays[name]
        return sum(
            4 * math.prod(-(-size // side) * side for size, side in self._sides(view, level))
            for _, level, _ in _level_names(view)
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array at level 0."""
        return {name: view.shape for name, view in self._arrays.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks, padding included, metadata not."""
        arrays = sum(map(self.count_bytes, self._arrays))
        return arrays + sum(group.nbytes for group in self._groups.values())

    def list_keys(self) -> list[str]:
        """Every key there is, metadata first: what an export writes."""
        found = ["zarr.json"]
        for name, view in self._arrays.items():
            found.append(f"{name}/zarr.json")
            for array_name, level, _ in _level_names(view):
                found.append(f"{name}/{array_name}/zarr.json")
                grid = [-(-size // side) for size, side in self._sides(view, level)]
                found += [f"{name}/{array_name}/c/{'/'.join(map(str, i))}" for i in np.ndindex(*grid)]
        found += [f"{name}/{key}" for name, group in self._groups.items() for key in group.list_keys()]
        return found

    def get(self, key: str) -> ZarrReply:
        """Answer a key. Raises UnknownKey for one that is not in the store."""
        if key == "zarr.json":
            # Seven hundred arrays of an eight-block model: described once, however many pages ask.
            if self._root is None:
                self._root = self._json(self._describe_root())
            return self._root
        name, _, rest = key.partition("/")
        if name in self._groups:
            return reply_from(self._groups[name], rest)
        view = self._arrays.get(name)
        if view is None:
            raise UnknownKey(key)
        if rest == "zarr.json":
            return self._json(group_text(_group_attributes(view), self._describe_levels(view)))
        array_name, _, rest = rest.partition("/")
        known = {label: (level, pooling) for label, level, pooling in _level_names(view)}
        if array_name not in known:
            raise UnknownKey(key)
        level, pooling = known[array_name]
        if rest == "zarr.json":
            return self._json(self._describe_array(view, level, pooling))
        return self._chunk(key, view, level, pooling, rest)

    def _chunk(self, key: str, view: ArrayView, level: int, pooling: Pooling, rest: str) -> ZarrReply:
        shape, chunk = level_shape(view.shape, level), self._chunk_shape(view, level)
        place = rest.split("/")
        if place[0] != "c" or len(place) != len(shape) + 1 or not all(map(CHUNK_INDEX.fullmatch, place[1:])):
            raise UnknownKey(key)
        starts = [int(part) * size for part, size in zip(place[1:], chunk, strict=True)]
        if any(start >= size for start, size in zip(starts, shape, strict=True)):
            raise UnknownKey(key)
        region = tuple(
            slice(start, min(start + side, size))
            for start, side, size in zip(starts, chunk, shape, strict=True)
        )
        kept = self._coarse if level > 0 else None
        body = None if kept is None else kept.find(key)
        if body is None:
            cells = read_level(view.read, view.shape, level, region, pooling)
            if cells.shape != tuple(part.stop - part.start for part in region):
                raise ValueError(f"{key} was given cells of the shape {cells.shape}, not its own")
            whole = np.full(chunk, np.nan, dtype="<f4")
            whole[tuple(slice(0, size) for size in cells.shape)] = cells
            body = whole.tobytes()
            if kept is not None:
                kept.keep(key, body)
        return _reply(body, BYTES_TYPE)

    def _sides(self, view: ArrayView, level: int) -> list[tuple[int, int]]:
        """The length of each axis of a level, with that of its chunks."""
        return [*zip(level_shape(view.shape, level), self._chunk_shape(view, level), strict=True)]

    def _chunk_shape(self, view: ArrayView, level: int) -> tuple[int, ...]:
        """Chunks of a level: one head or expert, at most `ROWS` x `COLUMNS` of it (square for patterns)."""
        columns = PATTERN_SIDE if view.axes[-1] == "key" else COLUMNS
        shape = level_shape(view.shape, level)
        leading = [1 if axis in SINGLE else size for size, axis in zip(shape[:-2], view.axes, strict=False)]
        limits = [*leading, ROWS, columns][-len(shape) :]
        # Growing axes keep their chunk size while they grow, so that a finished chunk stays what it was.
        return tuple(
            limit if self._growing and axis in GROWING else max(1, min(limit, size))
            for limit, size, axis in zip(limits, shape, view.axes, strict=True)
        )

    def _describe_root(self) -> str:
        members: dict[str, str] = {}
        for name, view in self._arrays.items():
            members[name] = group_text(_group_attributes(view))
            members.update((f"{name}/{label}", text) for label, text in self._describe_levels(view).items())
        for name, group in self._groups.items():
            members[name] = group.text
            members.update((f"{name}/{label}", text) for label, text in group.members.items())
        return group_text(self._attributes, members)

    def _describe_levels(self, view: ArrayView) -> dict[str, str]:
        return {
            label: self._describe_array(view, level, pooling) for label, level, pooling in _level_names(view)
        }

    def _describe_array(self, view: ArrayView, level: int, pooling: Pooling) -> str:
        shared = tuple((name, view.attributes[name]) for name in SHARED_ATTRIBUTES if name in view.attributes)
        return array_text(view.shape, self._chunk_shape(view, level), view.axes, level, pooling, shared)

    def _json(self, text: str) -> ZarrReply:
        return _reply(text.encode(), JSON_TYPE)


def reply_from(group: PlainGroup, key: str) -> ZarrReply:
    """Answer a key inside a small group. Raises UnknownKey."""
    body = group.find(key)
    if body is None:
        raise UnknownKey(key)
    return _reply(body, JSON_TYPE if key.endswith(".json") else BYTES_TYPE)


def _level_names(view: ArrayView) -> list[tuple[str, int, Pooling]]:
    names: list[tuple[str, int, Pooling]] = []
    for level in range(view.first_level, count_levels(view.shape)):
        names.append((str(level), level, "magnitude"))
        if level > 0:
            names.append((f"{level}_mean", level, "mean"))
    return names


def _group_attributes(view: ArrayView) -> dict[str, Any]:
    return {
        **view.attributes,
        "axes": list(view.axes),
        "levels": count_levels(view.shape),
        "first_level": view.first_level,
    }


def _reply(body: bytes, media_type: str) -> ZarrReply:
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    return ZarrReply(body=body, etag=etag, media_type=media_type)
