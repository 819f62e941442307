"""Pages inside the cells of notebooks that are not plain Jupyter, and by the way that Jupyter's own proxy has.

They need `pip install marimo jupyter-server jupyter-server-proxy`, which nothing else here does.
"""

import importlib.util
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import Running, serving
from tiny import make_models
from websockets.sync.client import connect


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import glassformer as gf
    t = gf.load("sorter").trace("CBABBC", max_new_tokens=2, temperature=0)
    t.show(height=321)
    return

if __name__ == "__main__":
    app.run()
"""


@needs("marimo")
def test_in_marimo_the_page_is_in_the_cell(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    out = tmp_path / "notebook.html"
    command = [
        sys.executable,
        "-m",
        "marimo",
        "export",
        "html",
        str(tmp_path / "notebook.py"),
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    assert re.search(
        r"iframe src=.{0,9}http://127\.0\.0\.1:\d+/llm\?trace=\w+", out.read_text(encoding="utf-8")
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(make_models(tmp_path_factory.mktemp("models")), rate_limit="") as found:
        yield found


@pytest.fixture
def proxied(server: Running, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the server by way of a Jupyter server that stands under a path."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    token = secrets.token_hex(8)
    options = [f"--port={port}", "--ServerApp.base_url=/user/mia/", f"--IdentityProvider.token={token}"]
    jupyter = subprocess.Popen(
        [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", *options],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}/user/mia/proxy/{server.url.rpartition(':')[2]}"
    try:
        with httpx.Client(
            base_url=base, timeout=60, trust_env=False, headers={"Authorization": f"token {token}"}
        ) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    if client.get("/health").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield client
    finally:
        jupyter.terminate()
        jupyter.wait(20)


@needs("jupyter_server", "jupyter_server_proxy")
def test_jupyters_proxy_hands_everything_on(proxied: httpx.Client) -> None:
    page = proxied.get("/llm")
    for name in re.findall(r'(?:src|href)="(\./[^"]+)"', page.text):
        assert proxied.get(httpx.URL(f"{proxied.base_url}llm").join(name)).status_code == 200
    made = proxied.post(
        "/api/traces", json={"model_id": "llama", "prompt": "Mia has", "max_new_tokens": 4}
    ).json()
    with proxied.stream("GET", f"/api/traces/{made['id']}/events") as events:
        assert [line for line in events.iter_lines() if line.startswith("event: ")]
    address = str(proxied.base_url).replace("http", "ws", 1) + "api/live"
    with connect(address, additional_headers=dict(proxied.headers)) as live:
        live.ping().wait(10)
