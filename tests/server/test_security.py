"""Who may ask: hosts, origins, keys, rates. Each refusal is told in the one shape."""

import base64
from pathlib import Path

import httpx
import pytest
from serving import Running, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from glassformer.server.page_policy import write_policy

KEY, OTHER = "a-long-enough-key", "another-good-key"


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_own_names(client: httpx.Client, host: str) -> None:
    assert client.get("/api/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "evil.example:localhost",
        "10.0.0.1",
    ],
)
def test_foreign_names(client: httpx.Client, host: str) -> None:
    for path in ("/api/models", "/health", "/llm"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "error" in answer.json()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1x"]
)
def test_foreign_origins_neither_read_nor_act(client: httpx.Client, origin: str) -> None:
    read = client.get("/api/models", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in read.headers
    act = client.post("/generate", json={"model_id": "llama", "prompt": "x"}, headers={"Origin": origin})
    assert act.status_code == 403
    preflight = client.options(
        "/generate", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    assert "Access-Control-Allow-Origin" not in preflight.headers


LOADING = ("/api/models/gpt2/load", "/api/models/gpt2/anatomy", "/api/models/gpt2/zarr/zarr.json")


@pytest.mark.parametrize("path", LOADING)
@pytest.mark.parametrize(
    "headers",
    [
        # An <img>, a link and a fetch of a foreign page, and a fetch by a browser that says no more than the origin.
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "https://evil.example"},
        {"Origin": "https://evil.example"},
    ],
)
def test_foreign_pages_load_no_model(model_dir: Path, path: str, headers: dict[str, str]) -> None:
    with serving(model_dir) as running, running.client() as client:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert "cors_origins" in answer.json()["error"]
        models = {one["model_id"]: one for one in client.get("/api/models").json()["models"]}
        assert models["gpt2"]["status"] == "available"


def test_whoever_is_let_in_may_still_read(client: httpx.Client, model_dir: Path) -> None:
    path = "/api/models/gpt2/anatomy"
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "http://localhost:3000"}
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    for headers in (fetched, own, typed, {}):
        assert client.get(path, headers=headers).status_code == 200, headers
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=visit).status_code == 307
    for page in ("/llm", "/llm?trace=abc"):
        assert client.get(page, headers=visit).status_code in (200, 503)
    with serving(model_dir, cors_origins="*") as running, running.client() as anyone:
        image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert anyone.get(path, headers=image).status_code == 200


def test_foreign_origins_get_no_socket(running: Running) -> None:
    address = running.url.replace("http", "ws") + "/api/live"
    with pytest.raises(InvalidStatus):
        connect(address, origin="https://evil.example", proxy=None)  # type: ignore[arg-type]
    with connect(address, origin="http://localhost:3000", proxy=None):  # type: ignore[arg-type]
        pass


def test_the_servers_own_page_may_act_under_any_allowed_name(model_dir: Path) -> None:
    with serving(model_dir, allowed_hosts="glass.example") as running, running.client() as client:
        headers = {"Host": "glass.example", "Origin": "http://glass.example"}
        assert client.post("/config", json={"model_id": "llama"}, headers=headers).status_code == 200
        headers["Origin"] = "http://other.example"
        assert client.post("/config", json={"model_id": "llama"}, headers=headers).status_code == 403


def test_any_origin_if_told_so(model_dir: Path) -> None:
    with serving(model_dir, cors_origins="*") as running, running.client() as client:
        answer = client.post("/config", json={"model_id": "llama"}, headers={"Origin": "https://any.example"})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://any.example")
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_keys(model_dir: Path) -> None:
    with serving(model_dir, api_keys=f"{KEY},{OTHER}") as running, running.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/llm").status_code in (200, 503)
        assert client.get("/").status_code == 307
        for path in ("/ready", "/metrics", "/api/models", "/llm/../api/models", "/openapi.json"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "error" in answer.json()
        for wrong in (
            "Bearer wrong",
            f"Basic {KEY}",
            f"Bearer {KEY[:-1]}",
            f"Bearer {KEY.upper()}",
            "Bearer",
            "Bearer é",
        ):
            assert client.get("/api/models", headers={b"Authorization": wrong.encode()}).status_code == 401
        for key in (KEY, OTHER):
            assert client.get("/api/models", headers={"Authorization": f"bearer {key}"}).status_code == 200
        preflight = client.options(
            "/generate",
            headers={
                "Origin": "http://localhost:3000",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert preflight.status_code == 200


def test_keys_of_sockets(model_dir: Path) -> None:
    with serving(model_dir, api_keys=KEY) as running:
        address = running.url.replace("http", "ws") + "/api/live"
        with pytest.raises(InvalidStatus):
            connect(address, proxy=None)
        code = base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")
        with connect(address, subprotocols=["glassformer", f"glassformer.key.{code}"], proxy=None) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "glassformer"


def test_rates(model_dir: Path) -> None:
    with serving(model_dir, rate_limit="5/minute") as running, running.client() as client:
        for _ in range(5):
            assert client.get("/api/models").status_code == 200
        answer = client.get("/api/models")
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert "error" in answer.json()
        # What is always free: whether it lives, and the page.
        assert client.get("/health").status_code == 200
        assert client.get("/llm").status_code in (200, 503)


def test_a_body_that_does_not_come(model_dir: Path) -> None:
    import socket

    with serving(model_dir, body_timeout_secs=0.3) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in connection.recv(1000)


def test_headers_against_guessing_types(client: httpx.Client) -> None:
    assert client.get("/health").headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "origins", "framers", "others"),
    [
        ("localhost:8000", ["localhost"], ["'self'", "http://localhost:*", "vscode-webview:"], ["*"]),
        (
            "glass.lab.org",
            ["https://wiki.lab.org/"],
            ["https://glass.lab.org:*", "https://wiki.lab.org"],
            ["*"],
        ),
        ("[::1]:8000", ["localhost"], ["http://127.0.0.1:*"], ["http://[::1]:*", "*"]),
        ("localhost", ["*"], ["*"], []),
        ("a.org; script-src *", ["localhost"], ["'self'"], ["script-src", "*"]),
    ],
)
def test_who_may_show_the_page_in_a_frame(
    host: str, origins: list[str], framers: list[str], others: list[str]
) -> None:
    *_, last = write_policy(host, origins).split("; ")
    name, *found = last.split(" ")
    assert name == "frame-ancestors"
    assert set(framers) <= set(found)
    assert not set(others) & set(found)


def test_the_page_runs_no_script_but_its_own_files(client: httpx.Client) -> None:
    policy = client.get("/llm").headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == "script-src 'self' 'wasm-unsafe-eval'"
    assert client.get("/llm").headers["Referrer-Policy"] == "no-referrer"
