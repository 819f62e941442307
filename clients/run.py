"""Run real clients against the real server, each in an environment of its own, and write down what held.

`make clients`, or `python clients/run.py [NAME ...]`. Needs package registries and nothing else of the network. The
environments stay in `.cache/clients` (or in `GLASSFORMER_CLIENTS`), so that a second run takes a minute; remove that folder
for newer versions. The table goes to docs/clients.md when all have run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = Path(os.environ.get("GLASSFORMER_CLIENTS", ROOT / ".cache" / "clients"))
TABLE = ROOT / "docs" / "clients.md"
MODEL = "steered"
START_SECS = 120
CLIENT_SECS = 600


@dataclass(frozen=True)
class Client:
    """One client: its file, what it needs from a registry, and whether it sees this Python's packages (torch) too."""

    name: str
    script: str
    packages: tuple[str, ...] = ()
    folder: str = ""
    argument: str = ""
    sees_ours: bool = False

    @property
    def is_node(self) -> bool:
        return self.script.endswith(".mjs")


NODE = ("openai", "ai", "@ai-sdk/openai-compatible", "@ai-sdk/openai", "zod")
CLIENTS = [
    Client("openai (Python)", "openai_python.py", ("openai", "pydantic"), "openai"),
    Client("openai (Node)", "use_node.mjs", NODE, "node"),
    Client("LangChain", "use_langchain.py", ("langchain", "langchain-openai"), "langchain"),
    Client("LiteLLM", "use_litellm.py", ("litellm",), "litellm"),
    Client(
        "LlamaIndex",
        "use_llama_index.py",
        (
            "llama-index-core",
            "llama-index-llms-openai-like",
            "llama-index-embeddings-openai-like",
        ),
        "llama-index",
    ),
    Client("instructor", "use_instructor.py", ("instructor",), "instructor"),
    Client("pydantic-ai", "use_pydantic_ai.py", ("pydantic-ai-slim[openai]",), "pydantic-ai"),
    Client("openai-agents", "use_openai_agents.py", ("openai-agents",), "openai-agents"),
    Client("Vercel AI SDK", "use_node.mjs", NODE, "node", "sdk"),
    Client("llm", "use_llm.py", ("llm",), "llm"),
    Client("lm-evaluation-harness", "use_lm_eval.py", ("lm_eval[api,hf]",), "lm-eval", sees_ours=True),
    Client("Open WebUI, Continue, SillyTavern (their requests)", "request_shapes.py", (), "plain"),
]


def prepare(client: Client) -> tuple[list[str], Path]:
    """Its environment, made where it is missing: what runs its file, and in which folder."""
    folder = CACHE / client.folder
    stamp, wanted = folder / ".installed", " ".join(client.packages)
    is_ready = stamp.is_file() and stamp.read_text() == wanted
    if client.is_node:
        node = shutil.which("node") or "node"
        if not is_ready:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
            npm = shutil.which("npm") or "npm"
            subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", *client.packages], cwd=folder, check=True
            )
            stamp.write_text(wanted)
        shutil.copy(HERE / client.script, folder / client.script)  # a module finds its packages beside it
        return [node, str(folder / client.script), client.argument], folder
    python = folder / "bin" / "python"
    if not is_ready:
        venv.create(folder, with_pip=True)
        if client.sees_ours:
            purelib = Path(
                subprocess.run(
                    [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout.strip()
            )
            (purelib / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
        if client.packages:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *client.packages], check=True)
        stamp.write_text(wanted)
    return [str(python), str(HERE / client.script)], HERE


@contextmanager
def serving() -> Iterator[str]:
    """The real server with the bundled models; gives its address."""
    program = "from glassformer.cli import app; app()"
    options = ["--port", "0", "--offline", "--rate-limit", "", "--default-model", MODEL]
    options += ["--model-dir", str(make_model().parent)]
    command = [sys.executable, "-c", program, "serve", *options]
    log = CACHE / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    try:
        started = time.monotonic()
        while time.monotonic() - started < START_SECS and server.poll() is None:
            found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
            if found and is_ready(found[0]):
                yield found[0]
                return
            time.sleep(0.5)
        raise SystemExit(f"The server did not start; see {log}.")
    finally:
        server.terminate()
        server.wait(20)


def make_model() -> Path:
    """A tiny random model with a common chat template: what closes a loop of tools is the server, not its wits."""
    folder = CACHE / "models" / MODEL
    if not (folder / "config.json").is_file():
        sys.path.insert(0, str(ROOT / "tests"))
        import chat_templates
        import tiny

        tokenizer = chat_templates.make_knowing_tokenizer()
        tokenizer.chat_template = chat_templates.HERMES
        ends = tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>"])
        tiny.make_model(folder, "llama", tokenizer=tokenizer, eos_token_id=ends)
    return folder


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def run(client: Client, url: str) -> dict[str, Any]:
    """What one client's file tells: its versions, and which of its checks held."""
    command, folder = prepare(client)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "GLASSFORMER_URL": url,
        "GLASSFORMER_MODEL": MODEL,
        "GLASSFORMER_FOLDER": str(make_model()),
        "HF_HUB_OFFLINE": "1",
        "OPENAI_API_KEY": "none-is-needed",
        "PYTHONPATH": str(HERE),
    }
    try:
        outcome = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECS,
            check=False,
        )
        out, errors = outcome.stdout, outcome.stderr
    except subprocess.TimeoutExpired as error:
        out, errors = str(error.stdout or ""), "it took too long"
    told = [json.loads(line) for line in out.splitlines() if line.startswith('{"')]
    (CACHE / f"{client.folder}{client.argument}.log").write_text(out + errors)
    versions = next((line["versions"] for line in told if "versions" in line), {})
    checks = [line for line in told if "check" in line]
    if not checks:
        checks = [
            {"check": "it starts", "ok": False, "why": (errors.strip().splitlines() or ["?"])[-1][:300]}
        ]
    return {"name": client.name, "versions": versions, "checks": checks}


def write_table(found: list[dict[str, Any]]) -> str:
    """docs/clients.md."""
    lines = [
        "# Clients",
        "",
        "Programs that talk to this server as they are: each was run, in an environment of its own, against the real server",
        "with a tiny random model, so that what closes a loop of tools is the schema, and not the model's wits. `make clients`",
        "does it again and writes this page; what each was asked is in the files beside [run.py](../clients/run.py). A check is",
        "made up to three times, for a random model may say nothing.",
        "",
        "| client | versions | works | does not |",
        "|---|---|---|---|",
    ]
    for one in found:
        versions = ", ".join(f"{name} {number}" for name, number in one["versions"].items()) or "-"
        works = "; ".join(check["check"] for check in one["checks"] if check["ok"])
        fails = "; ".join(
            f"{check['check']}: {tidy(check['why'])}" for check in one["checks"] if not check["ok"]
        )
        lines.append(f"| {one['name']} | {versions} | {works} | {fails} |")
    return "\n".join(lines) + "\n"


def tidy(why: str) -> str:
    return re.sub(r"\s+", " ", why).replace("|", "\\|")


def main() -> None:
    chosen = [client for client in CLIENTS if not sys.argv[1:] or client.folder in sys.argv[1:]]
    found = []
    with serving() as url:
        for client in chosen:
            one = run(client, url)
            found.append(one)
            for check in one["checks"]:
                print(
                    "ok  " if check["ok"] else "FAIL",
                    client.name,
                    "-",
                    check["check"],
                    check.get("why", ""),
                    flush=True,
                )
    if len(chosen) == len(CLIENTS):
        TABLE.write_text(write_table(found))
    if not all(check["ok"] for one in found for check in one["checks"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
