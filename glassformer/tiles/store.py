"""A Zarr v3 store answered on demand: keys in, bytes out (Zarr core specification 3.0).

Layout in `protocol/SPEC.md`: a group with consolidated metadata, a group for each address, an array for each level.
Knows arrays only through `ArrayView`. Costs one level chunk of memory for each answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassformer.errors import UnknownKey
from glassformer.tiles.level import Array, Pooling, Region, count_levels, level_shape, read_level

ROWS, COLUMNS, PATTERN_SIDE = 64, 512, 64
JSON_TYPE, BYTES_TYPE = "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ArrayView:
    """One array of the store; `read` gives float32 cells of a region of level 0."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    read: Callable[[Region], Array]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ZarrReply:
    """The bytes of a key, a strong ETag over them, and whether they can never change."""

    body: bytes
    etag: str
    immutable: bool
    media_type: str


class ZarrStore:
    """The keys of a set of arrays; `growing` says whether arrays may still get more rows."""

    def __init__(
        self, arrays: Mapping[str, ArrayView], attributes: Mapping[str, Any], *, growing: bool
    ) -> None:
        self._arrays = arrays
        self._attributes = dict(attributes)
        self._growing = growing

    def list_keys(self) -> list[str]:
        """Every key there is, metadata first: what an export writes."""
        found = ["zarr.json"]
        for name, view in self._arrays.items():
            found.append(f"{name}/zarr.json")
            for array_name, level, _ in _level_names(view):
                found.append(f"{name}/{array_name}/zarr.json")
                shape = level_shape(view.shape, level)
                grid = [
                    -(-size // chunk) for size, chunk in zip(shape, chunk_shape(view, level), strict=True)
                ]
                found += [f"{name}/{array_name}/c/{'/'.join(map(str, i))}" for i in np.ndindex(*grid)]
        return found

    def get(self, key: str) -> ZarrReply:
        """Answer a key. Raises UnknownKey for one that is not in the store."""
        if key == "zarr.json":
            return self._json(self._describe_root())
        name, _, rest = key.partition("/")
        view = self._arrays.get(name)
        if view is None:
            raise UnknownKey(key)
        if rest == "zarr.json":
            return self._json(_describe_group(self._group_attributes(view)))
        array_name, _, rest = rest.partition("/")
        known = {label: (level, pooling) for label, level, pooling in _level_names(view)}
        if array_name not in known:
            raise UnknownKey(key)
        level, pooling = known[array_name]
        if rest == "zarr.json":
            return self._json(_describe_array(view, level, pooling))
        return self._chunk(key, view, level, pooling, rest)

    def _chunk(self, key: str, view: ArrayView, level: int, pooling: Pooling, rest: str) -> ZarrReply:
        parts = rest.split("/")
        shape, chunk = level_shape(view.shape, level), chunk_shape(view, level)
        if (
            parts[0] != "c"
            or len(parts) != len(shape) + 1
            or not all(p.isdecimal() and len(p) < 10 for p in parts[1:])
        ):
            raise UnknownKey(key)
        starts = [int(part) * size for part, size in zip(parts[1:], chunk, strict=True)]
        if any(start >= size for start, size in zip(starts, shape, strict=True)):
            raise UnknownKey(key)
        region = tuple(
            slice(start, min(start + side, size))
            for start, side, size in zip(starts, chunk, shape, strict=True)
        )
        cells = read_level(view.read, view.shape, level, region, pooling)
        whole = np.full(chunk, np.nan, dtype="<f4")
        whole[tuple(slice(0, size) for size in cells.shape)] = cells
        return _reply(
            whole.tobytes(), BYTES_TYPE, immutable=not self._growing or self._is_full(view, region, chunk)
        )

    def _is_full(self, view: ArrayView, region: Region, chunk: tuple[int, ...]) -> bool:
        """Whether no growing axis ends inside the chunk (on an axis of keys, later rows cannot change earlier ones)."""
        return all(
            part.stop - part.start == side
            for part, side, axis in zip(region, chunk, view.axes, strict=True)
            if axis in ("pos", "query", "key")
        )

    def _group_attributes(self, view: ArrayView) -> dict[str, Any]:
        return {**view.attributes, "axes": list(view.axes), "levels": count_levels(view.shape)}

    def _describe_root(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for name, view in self._arrays.items():
            metadata[name] = _describe_group(self._group_attributes(view))
            for array_name, level, pooling in _level_names(view):
                metadata[f"{name}/{array_name}"] = _describe_array(view, level, pooling)
        root = _describe_group(self._attributes)
        root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
        return root

    def _json(self, document: dict[str, Any]) -> ZarrReply:
        return _reply(
            json.dumps(document, separators=(",", ":")).encode(), JSON_TYPE, immutable=not self._growing
        )


def chunk_shape(view: ArrayView, level: int) -> tuple[int, ...]:
    """Chunks of a level: leading axes whole, the last two by at most `ROWS` x `COLUMNS` (square for patterns)."""
    columns = PATTERN_SIDE if view.axes[-1] == "key" else COLUMNS
    limits = [*level_shape(view.shape, level)[:-2], ROWS, columns][-len(view.shape) :]
    # Growing axes keep their chunk size while they grow, so that a finished chunk stays what it was.
    return tuple(
        limit if axis in ("pos", "query", "key") else max(1, min(limit, size))
        for limit, size, axis in zip(limits, level_shape(view.shape, level), view.axes, strict=True)
    )


def _level_names(view: ArrayView) -> list[tuple[str, int, Pooling]]:
    names: list[tuple[str, int, Pooling]] = [("0", 0, "magnitude")]
    for level in range(1, count_levels(view.shape)):
        names += [(str(level), level, "magnitude"), (f"{level}_mean", level, "mean")]
    return names


def _describe_group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _describe_array(view: ArrayView, level: int, pooling: Pooling) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(level_shape(view.shape, level)),
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape(view, level))}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "dimension_names": list(view.axes),
        "attributes": {"level": level, "pooling": pooling if level else "none"},
    }


def _reply(body: bytes, media_type: str, *, immutable: bool) -> ZarrReply:
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    return ZarrReply(body=body, etag=etag, immutable=immutable, media_type=media_type)
