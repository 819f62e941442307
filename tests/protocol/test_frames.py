"""Live frames keep what is put in."""

import numpy as np
import pytest

from glassformer.protocol.frames import decode_frame, encode_frame


def test_round_trip() -> None:
    rows = {
        "q.3": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "attn_scores.0": np.array([[[-np.inf, 1.5]]]),
    }
    frame = encode_frame("abc", 5, 8, rows)
    header, read = decode_frame(frame)
    assert (header.trace_id, header.start, header.stop) == ("abc", 5, 8)
    assert list(read) == list(rows)
    for address, values in rows.items():
        np.testing.assert_array_equal(read[address], values)


@pytest.mark.parametrize("cut", [0, 3, 40, -1])
def test_a_cut_frame_is_refused(cut: int) -> None:
    frame = encode_frame("abc", 0, 1, {"q.3": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"frame|JSON|json|Invalid"):
        decode_frame(frame[:cut])


def test_payload_is_aligned() -> None:
    frame = encode_frame("äbc", 0, 1, {"q.3": np.ones((2, 2))})
    assert int.from_bytes(frame[:4], "little") % 4 == 0
