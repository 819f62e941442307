"""Surface B with the official client for Node, installed from its lock file, against a live server."""

import hashlib
import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from leaving import wait_until
from serving import serving
from talking import TALKER, TURNS, connect, make_talker

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"


@pytest.fixture(scope="module")
def node() -> Path:
    """The Node that builds the page, with the client beside the script that uses it."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    program, npm = hook.find_node()
    lock = hashlib.sha256((CLIENTS / "package-lock.json").read_bytes()).hexdigest()
    stamp = CLIENTS / "node_modules" / ".lock-sha256"
    if not stamp.is_file() or stamp.read_text() != lock:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", "")]),
        }
        subprocess.run([program, npm, "ci"], cwd=CLIENTS, env=environment, check=True, timeout=300)
        stamp.write_text(lock)
    return program


def ask(node: Path, url: str) -> dict[str, Any]:
    outcome = subprocess.run(
        [node, "ask.mjs", f"{url}/v1", TALKER, json.dumps(TURNS)],
        cwd=CLIENTS,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "NODE_USE_ENV_PROXY": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    answer: dict[str, Any] = json.loads(outcome.stdout)
    return answer


def test_the_node_client(node: Path, tmp_path: Path) -> None:
    """It is given what the Python client is given."""
    with (
        serving(make_talker(tmp_path), rate_limit="", default_model=TALKER) as running,
        connect(running) as client,
    ):
        found = ask(node, running.url)
        wait_until(lambda: running.services.count_generations() == 0)
        options: dict[str, Any] = {"model": TALKER, "messages": TURNS, "seed": 3, "max_tokens": 40}
        two = client.chat.completions.create(**options, n=2, logprobs=True, top_logprobs=2)
        completion = client.completions.create(model=TALKER, prompt="the quick", temperature=0, max_tokens=20)
    assert {TALKER, "tales"} <= set(found["models"])
    for ours, theirs in zip(found["whole"]["choices"], two.choices, strict=True):
        assert ours["message"] == theirs.message.model_dump(exclude_unset=True)
        assert ours["finish_reason"] == theirs.finish_reason
        told, expected = ours["logprobs"]["content"], theirs.logprobs.content
        assert [token["bytes"] for token in told] == [token.bytes for token in expected]
        # Which sequences share a forward decides on the last bits.
        assert [token["logprob"] for token in told] == pytest.approx([token.logprob for token in expected])
    texts = [choice.message.content for choice in two.choices]
    assert "".join(found["pieces"]) == texts[0]
    assert found["usage"]["completion_tokens"] == found["usage"]["total_tokens"] - two.usage.prompt_tokens
    assert [choice["message"]["content"] for choice in found["helped"]["choices"]] == texts
    assert "".join(found["texts"]) == completion.choices[0].text
    assert found["errors"] == [
        ["NotFoundError", 404, "model", "model_not_found"],
        ["BadRequestError", 400, "tools.0.function.parameters", "invalid_request"],
        ["BadRequestError", 400, "temperature", "invalid_request"],
    ]
    assert found["heard"] == 5
