"""The metadata documents of a store, as JSON text (Zarr core specification 3.0, and its consolidated form).

As text, since a model has hundreds of arrays of a few kinds: those of one kind are written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from glassformer.tiles.level import Pooling, level_shape


@lru_cache(maxsize=4096)
def array_text(
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    axes: tuple[str, ...],
    level: int,
    pooling: Pooling,
    attributes: tuple[tuple[str, str], ...],
) -> str:
    """One level of an array whose level 0 has `shape`."""
    return _text(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": level_shape(shape, level),
            "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN",
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "dimension_names": dimension_names(axes, level),
            "attributes": {
                **dict(attributes),
                "level": level,
                "pooling": pooling if level else "none",
            },
        }
    )


# What stands where nothing is.
FILL = {"int32": -1, "uint8": 0}


@lru_cache(maxsize=256)
def plain_array_text(shape: tuple[int, ...], dtype: str, axes: tuple[str, ...], attributes: str) -> str:
    """An array of one chunk and no levels; `attributes` as JSON."""
    return _text(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in shape]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": FILL.get(dtype, "NaN"),
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "dimension_names": axes,
            "attributes": json.loads(attributes),
        }
    )


def group_text(attributes: Mapping[str, Any], members: Mapping[str, str] | None = None) -> str:
    """A group; with the texts of its `members` by path, its consolidated metadata too."""
    own = f'"zarr_format":3,"node_type":"group","attributes":{_text(dict(attributes))}'
    if members is None:
        return f"{{{own}}}"
    listed = ",".join(f"{_text(path)}:{text}" for path, text in members.items())
    return (
        f'{{{own},"consolidated_metadata":'
        f'{{"kind":"inline","must_understand":false,"metadata":{{{listed}}}}}}}'
    )


def dimension_names(axes: Sequence[str], level: int) -> list[str]:
    """The axes; a pooled one says by how much, since xarray wants one length for one name: `key`, `key_2`, `key_4`."""
    pooled = len(axes) - 2
    return [f"{axis}_{2**level}" if level and at >= pooled else axis for at, axis in enumerate(axes)]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
