"""The `llm` command, with this server as an extra OpenAI model."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import BASE, KEY, MODEL, QUESTION, run

home = Path(tempfile.mkdtemp())
(home / "extra-openai-models.yaml").write_text(
    f"- model_id: glass\n  model_name: {MODEL}\n  api_base: {BASE}\n  supports_tools: true\n  supports_schema: true\n"
)
TOOL = 'def weather(city: bool) -> str:\n    "How it is in a city."\n    return "sunny"\n'


def ask(*options: str) -> str:
    outcome = subprocess.run(
        [Path(sys.executable).parent / "llm", "-m", "glass", "--key", KEY, *options],
        env={**os.environ, "LLM_USER_PATH": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert outcome.returncode == 0, outcome.stderr.strip().splitlines()[-1]
    return outcome.stdout


def prompt() -> None:
    assert ask(QUESTION, "-o", "max_tokens", "20").strip()
    assert ask(QUESTION, "-o", "max_tokens", "20", "--no-stream").strip()


def schema() -> None:
    assert isinstance(json.loads(ask(QUESTION, "--schema", "sure bool"))["sure"], bool)


def tools() -> None:
    """It leaves the choice to the model, which need not call."""
    ask(QUESTION, "--functions", TOOL, "-o", "max_tokens", "100")


run(["llm"], {"prompt": prompt, "schema": schema, "tools": tools})
