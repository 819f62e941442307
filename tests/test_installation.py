"""`glassformer doctor` without a model: each thing that is needed, found working, lacking or broken as it is here."""

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import glassformer.export.folder as exporting
from glassformer.cli import app
from glassformer.command.installation import Finding, examine
from glassformer.settings import Settings


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("")
    monkeypatch.setattr(exporting, "PAGE", tmp_path / "page")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub() -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def look(**given: object) -> dict[str, Finding]:
    settings = Settings(**{"port": 0, "offline": False, "hub_endpoint": "http://127.0.0.1:9", **given})  # type: ignore[arg-type]
    return {each.name: each for each in examine(settings)}


def test_what_works_and_what_is_lacking_are_told_apart(hub: str, tmp_path: Path) -> None:
    found = look(hub_endpoint=hub)
    assert {name for name, each in found.items() if each.state != "works"} <= {"compiler", "memory"}
    assert torch.__version__ in found["torch"].says
    assert str(tmp_path / "cache") in found["model cache"].says
    assert look()["model hub"].state == look(offline=True)["model hub"].state == "limited"
    assert "cannot be reached" in look()["model hub"].says
    assert "offline" in look(offline=True)["model hub"].says


def test_what_is_broken_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = look(port=port)
        assert found["address"].state == "broken"
        assert str(port) in found["address"].says
    assert look(host="0.0.0.0")["address"].state == "broken"  # noqa: S104  # other machines, and no key
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "cache"))
    assert look()["model cache"].state == "broken"
    (tmp_path / "page" / "index.html").unlink()
    assert "make page" in look()["page"].says


@pytest.mark.skipif(os.name != "posix", reason="compilers are found otherwise there")
def test_without_a_compiler_one_setting_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert look()["compiler"].state == "limited"


def test_the_command_ends_as_it_finds(hub: str, tmp_path: Path) -> None:
    environment = {"GLASSFORMER_HUB_ENDPOINT": hub, "GLASSFORMER_PORT": "0", "COLUMNS": "200"}
    done = CliRunner(env=environment).invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    for name in ("torch", "compiler", "memory", "model cache", "model hub", "address", "page"):
        assert f"\n{name} " in done.stdout
    (tmp_path / "page" / "index.html").unlink()
    done = CliRunner(env=environment).invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "broken" in done.stdout
