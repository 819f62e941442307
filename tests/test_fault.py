"""What libraries say when they fail, made fit for anybody's eyes."""

from pathlib import Path

import pytest

from glassformer.fault import describe, describe_calls


def test_a_message_is_told_whole_and_without_places() -> None:
    fault = OSError("cannot open /home/someone/models/x.safetensors, see https://example.com/help\nand more")
    told = describe(fault, folder=Path("/home/someone/models"))
    assert told == "cannot open the model/x.safetensors, see (left out) and more"
    assert describe(OSError(r"at ~/.cache/thing/file.py, C:\Users\me\x.py and/or there")) == (
        "at (left out) (left out) and/or there"
    )
    assert describe(ValueError()) == "ValueError"


def test_a_message_without_end_is_cut() -> None:
    told = describe(ValueError("so " * 10_000))
    assert len(told) <= 500
    assert told.endswith("so …")


def raise_nested(secret: str) -> None:
    try:
        int(secret)
    except ValueError as error:
        raise RuntimeError(f"the model's text {secret!r} isn't the user's number") from error


def test_a_traceback_names_calls_and_no_values() -> None:
    secret = " ".join(["my", "diary"])
    with pytest.raises(RuntimeError) as raised:
        raise_nested(secret)
    told = describe_calls((RuntimeError, raised.value, raised.tb))
    lines = told.splitlines()
    assert secret not in told
    assert str(Path(__file__).parent) not in told
    assert (
        told.index("ValueError: invalid literal") < told.index("which led to:") < told.index("RuntimeError:")
    )
    assert lines[-1] == "RuntimeError: the model's text (left out) isn't the user's number"
    assert "  test_fault.py:" in told.replace("tests/", "")
    assert "    int(secret)" in lines


def test_a_fault_that_leads_to_itself_ends() -> None:
    first, second = ValueError("one"), ValueError("two")
    first.__cause__, second.__cause__ = second, first
    assert describe_calls((ValueError, first, None)).count("ValueError") == 2
