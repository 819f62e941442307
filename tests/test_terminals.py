"""The real command with terminals, pipes and keys as they are: no traceback, and an exit code that shells know."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from glassformer.command_line import run; run()"]
TRACE = ["trace", "tales", "Mia gives the ball to Tom. Who has the ball? 🎉", "--reading"]
posix = pytest.mark.skipif(os.name != "posix", reason="shells and signals of POSIX")


def run(
    *arguments: str, given: dict[str, str] | None = None, **options: Any
) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "GLASSFORMER_DEVICE": "cpu", "GLASSFORMER_OFFLINE": "1", **(given or {})}
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False, timeout=300, **options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["models"], TRACE, ["shape", "gpt2"]], ids=lambda given: given[0]
)
def test_any_encoding_of_the_terminal_will_do(encoding: str, arguments: list[str]) -> None:
    done = run(*arguments, given={"PYTHONIOENCODING": encoding, "COLUMNS": "40"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
    assert len(done.stdout) > 100


@posix
@pytest.mark.parametrize("arguments", [["--help"], TRACE, ["models"]], ids=lambda given: given[0])
def test_a_reader_that_has_enough_is_no_fault(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(*arguments, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert b"Broken pipe" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], TRACE, ["models"]], ids=lambda given: given[0])
def test_an_output_that_is_full_is_told(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"could not be written" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@posix
@pytest.mark.parametrize("arguments", [["--help"], TRACE, ["models"]], ids=lambda given: given[0])
def test_a_closed_output_is_no_traceback(arguments: list[str]) -> None:
    done = run(*arguments, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)


@posix
@pytest.mark.parametrize("after_secs", [0.15, 0.5, 1.0, 2.0, 3.0])
def test_an_interruption_at_any_moment_ends_it(after_secs: float) -> None:
    """While the interpreter starts, libraries are imported, a model is loaded and the text is written."""
    code = "print('begun', flush=True); from glassformer.command_line import run; run()"
    arguments = ["trace", "tales", "Once upon a time", "--max-new-tokens", "200"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "GLASSFORMER_DEVICE": "cpu", "GLASSFORMER_OFFLINE": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(after_secs)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"Traceback" not in said, said.decode()
    # On a quick machine it may be over before.
    assert process.returncode in (0, 130)


def test_a_model_directory_that_is_no_folder_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, tmp_path / "nowhere"):
        for arguments in (["models"], ["doctor", "tales"], ["trace", "tales", "x"]):
            done = run(*arguments, "--model-dir", str(place), capture_output=True)
            assert done.returncode in (1, 2), arguments
            assert place.name.encode() in done.stderr
            assert b"Traceback" not in done.stderr
