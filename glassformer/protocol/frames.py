"""Live frames: one binary message for each step, laid out as `SPEC.md` says. Knows numpy, not where rows come from."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from glassformer.protocol.messages import FrameArray, FrameHeader


def encode_frame(trace_id: str, start: int, stop: int, rows: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Pack the rows `start` to `stop` of each address; values become little-endian float32."""
    bodies = [np.ascontiguousarray(values, dtype="<f4").tobytes() for values in rows.values()]
    arrays, offset = [], 0
    for (address, values), body in zip(rows.items(), bodies, strict=True):
        arrays.append(FrameArray(address=address, shape=list(values.shape), offset=offset))
        offset += len(body)
    header = FrameHeader(trace_id=trace_id, start=start, stop=stop, arrays=arrays).model_dump_json().encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + b"".join(bodies)


def decode_frame(frame: bytes) -> tuple[FrameHeader, dict[str, np.ndarray[Any, Any]]]:
    """The reverse of `encode_frame`. Raises ValueError for a frame that is cut short or not a frame."""
    if len(frame) < 4:
        raise ValueError("a frame has at least four bytes")
    (length,) = struct.unpack_from("<I", frame)
    header = FrameHeader.model_validate_json(frame[4 : 4 + length])
    payload = frame[4 + length :]
    rows = {}
    for array in header.arrays:
        count = int(np.prod(array.shape, dtype=np.int64))
        if array.offset + 4 * count > len(payload):
            raise ValueError(f"the frame ends inside {array.address}")
        rows[array.address] = np.frombuffer(payload, "<f4", count, array.offset).reshape(array.shape)
    return header, rows
