"""The command line: help, refusals in one sentence each, and a server from start to stop in its own process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from glassformer.cli import SINGULAR, app, read_settings
from glassformer.server.startup import take_port
from glassformer.settings import Settings

COMMAND = [sys.executable, "-c", "from glassformer.command_line import run; run()"]


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", **environment}).invoke(app, list(arguments))


def check_refusal(done: Result, sentence: str) -> None:
    assert done.exit_code in (1, 2)
    assert re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_help_names_the_commands() -> None:
    done = run("--help")
    assert done.exit_code == 0
    for command in ("serve", "train", "models"):
        assert command in done.stdout


def test_help_is_quick() -> None:
    """It must not import torch, transformers or a web framework."""
    code = "import sys, glassformer.cli; print([m for m in ('torch', 'transformers', 'fastapi') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_setting_has_an_option() -> None:
    shown = run("serve", "--help").stdout
    for name in Settings.model_fields:
        assert f"--{SINGULAR.get(name, name.replace('_', '-'))} " in shown, name


@pytest.mark.parametrize("name", ["offline", "insecure", "copy_weights"])
@pytest.mark.parametrize(("said", "given", "found"), [("1", "--no-", False), ("0", "--", True)])
def test_what_is_on_or_off_can_be_told_otherwise(
    name: str, said: str, given: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option wins over the environment, whichever way that has it."""
    monkeypatch.setenv(f"GLASSFORMER_{name.upper()}", said)
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    with command.make_context("serve", [f"{given}{name.replace('_', '-')}"]) as context:
        assert getattr(read_settings(**context.params), name) is found
    with command.make_context("serve", []) as context:
        assert getattr(read_settings(**context.params), name) is not found


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_refusal(run("serve", "--offline", "--port", str(port)), rf"Port {port} is in use")


def test_a_port_in_use_is_noticed_before_anything_is_loaded() -> None:
    """In a process of its own: neither a library nor a model has been read when it ends."""
    code = """
import sys
from glassformer.cli import app
try:
    app(sys.argv[1:])
finally:
    print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-c", code, "serve", "--offline", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"glassformer: Port {port} is in use by another program; choose another with --port.\n"
    )
    assert done.stdout == "[]\n"


def test_a_port_in_use_at_another_address_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` is 127.0.0.1 and ::1 on many machines, and a browser may take either."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (1, 2)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        check_refusal(run("serve", "--offline", "--port", str(port)), rf"Port {port} is in use")
    # An address that the machine does not have is none that a browser could take.
    places[1] = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))
    with take_port(Settings(port=port)) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)


def test_the_version_is_told() -> None:
    done = run("--version")
    assert done.exit_code == 0
    assert done.stdout == f"glassformer {version('glassformer')}\n"


def test_an_api_key_of_nothing_is_refused() -> None:
    for key in ("", "   ", " " * 12, "\t"):
        check_refusal(
            run("serve", "--offline", "--api-key", key), "^glassformer: api_keys: an API key is empty"
        )
    for keys in ("", "  ", " , ", ","):
        check_refusal(
            run("serve", "--offline", GLASSFORMER_API_KEYS=keys),
            "^glassformer: api_keys: an API key is empty",
        )
    two = ["--api-key", "a-long-enough-key", "--api-key", "        "]
    check_refusal(run("serve", "--offline", *two), "^glassformer: api_keys: an API key is empty")
    check_refusal(run("serve", "--offline", "--api-key", " long-enough"), "^glassformer: api_keys: .* space")


def test_listening_beyond_this_machine() -> None:
    everywhere = ["serve", "--offline", "--host", "0.0.0.0"]  # noqa: S104  # refused
    check_refusal(run(*everywhere), "API keys")
    check_refusal(run(*everywhere, "--insecure", "--cors-origin", "*"), "any web page")


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    # Below a file: refused to everyone, even to root.
    (tmp_path / "file").write_text("")
    check_refusal(run("serve", HF_HOME=str(tmp_path / "file" / "home")), "cannot be written")


def test_values_that_cannot_be(tmp_path: Path) -> None:
    check_refusal(run("serve", "--port", "99999"), "port")
    check_refusal(run("serve", GLASSFORMER_TRACE_BYTES="-1"), "trace_bytes")
    check_refusal(run("serve", "--api-key", "short"), "8 characters")
    check_refusal(run("serve", "--offline", "--model-dir", str(tmp_path / "none")), "does not exist")
    check_refusal(run("serve", "--offline", "--insecure", "--host", "no.such.invalid"), "no address")
    check_refusal(run("train", "nonesuch"), "nonesuch")


def test_models_are_listed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "gpt2"}')
    done = run("models", "--model-dir", str(tmp_path))
    assert done.exit_code == 0
    for name in ("tales", "sorter", "mine"):
        assert name in done.stdout


@pytest.mark.slow
def test_serving_from_start_to_stop() -> None:
    """The address is printed once it answers; /health at once, the model behind it; a signal ends open streams."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--offline", "--port", "0", "--default-model", "sorter"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/llm", address)
        url = address.removesuffix("/llm")
        with httpx.Client(base_url=url, timeout=90, trust_env=False) as client:
            assert client.get("/health").json() == {"ok": True}
            body = {"model_id": "tales", "prompt": "Mia", "max_new_tokens": 200, "temperature": 1}
            with client.stream("POST", "/generate/stream", json=body) as answer:
                assert answer.status_code == 200
                started = time.monotonic()
                process.send_signal(signal.SIGTERM)
                for _ in answer.iter_bytes():
                    pass
        assert process.wait(10) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 6
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_shape_is_told_without_weights(tmp_path: Path) -> None:
    listed = run("shape")
    assert "deepseek-v3-671b" in listed.stdout
    told = run("shape", "gpt2")
    assert told.exit_code == 0, told.stderr
    for said in ("124,439,808", "12 x full, 12 heads: 0-11", "248.9 MB in bfloat16", "37 kB for each token"):
        assert said in told.stdout
    config = tmp_path / "config.json"
    config.write_text(
        '{"model_type": "gpt2", "n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 9, "n_positions": 4}'
    )
    message = json.loads(run("shape", str(config), "--json").stdout)
    assert message["anatomy"]["dimensions"]["blocks"] == 2
    config.write_text('{"model_type": "gpt2", "n_layer": 1000000}')
    check_refusal(run("shape", str(config)), "n_layer is 1000000; a model is read up to 512")
    check_refusal(run("shape", "nope"), "There is no shape 'nope'")
    check_refusal(run("shape", "nope.json"), "There is no such file")
