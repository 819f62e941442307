"""Behind a proxy, under a path of it: a real nginx before the real server, with the path left on and taken off."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import serving
from tiny import make_models
from websockets.sync.client import connect

from glassformer.protocol.messages import Subscribe

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

CONFIG = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location /glass/ {{
      proxy_pass http://127.0.0.1:{behind}{path};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
}}
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(params=["taken off", "left on"])
def address(request: pytest.FixtureRequest, model_dir: Path, tmp_path: Path) -> Iterator[str]:
    """What the browser is given: the server under `/glass` of another host."""
    if NGINX is None:
        pytest.skip("nginx is not installed; on Debian and Ubuntu: apt-get install nginx-light")
    port = free_port()
    with serving(model_dir, root_path="/glass", rate_limit="") as server:
        path = "/" if request.param == "taken off" else "/glass/"
        behind = server.url.rpartition(":")[2]
        config = tmp_path / "nginx.conf"
        config.write_text(CONFIG.format(folder=tmp_path, port=port, behind=behind, path=path))
        process = subprocess.Popen([NGINX, "-c", str(config), "-p", str(tmp_path)])
        try:
            base = f"http://127.0.0.1:{port}/glass"
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    httpx.get(f"{base}/health", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield base
        finally:
            process.terminate()
            process.wait(10)


def test_every_surface_works_under_a_path(address: str) -> None:
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        home = client.get("/")
        assert home.status_code == 307
        assert httpx.URL(f"{address}/").join(home.headers["Location"]) == f"{address}/llm"
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/glass"}]
        assert client.get("/v1/models").json()["data"]
        made = client.post(
            "/api/traces",
            json={"model_id": "llama", "prompt": "Mia has", "max_new_tokens": 4, "sampling": {"seed": 1}},
        ).json()
        pieces = []
        with client.stream("GET", f"/api/traces/{made['id']}/events") as events:
            pieces = [line for line in events.iter_lines() if line.startswith("event: ")]
        # What was written before the stream began stands in its first event.
        assert "event: step" in pieces
        state = client.get(f"/api/traces/{made['id']}").json()
        assert len(state["tokens"]) - state["prompt_count"] == 4
        assert client.get(f"/api/traces/{made['id']}/zarr/zarr.json").status_code == 200
        with client.stream(
            "POST", "/generate/stream", json={"model_id": "llama", "prompt": "Mia has", "max_new_tokens": 3}
        ) as stream:
            assert stream.status_code == 200
            assert len([line for line in stream.iter_lines() if line.startswith("data:")]) >= 1
        with connect(address.replace("http", "ws") + "/api/live") as live:
            live.send(
                Subscribe(type="subscribe", trace_id=made["id"], addresses=["resid_post.0"]).model_dump_json()
            )
        assert client.get("/api/models/nothing/anatomy").status_code == 404


def test_only_the_whole_prefix_is_taken_off(model_dir: Path) -> None:
    with serving(model_dir, root_path="/glass") as server, server.client() as client:
        paths = ("/glass/health", "/health", "/glassy/health", "/glass/glass/health", "/glass")
        assert [client.get(path).status_code for path in paths] == [200, 200, 404, 404, 307]
