"""The page's files: where they are, how long they are kept, what is said where they are not built."""

from pathlib import Path

import httpx
import pytest

from glassformer.server.router import page


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>page</title>")
    (folder / "assets" / "main-1a2b.js").write_text("plain")
    (folder / "assets" / "main-1a2b.js.br").write_bytes(b"brotli")
    (folder / "assets" / "main-1a2b.js.gz").write_bytes(b"gzip")
    (folder / ".source-sha256").write_text("hidden")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(page, "PAGE", folder)
    return folder


@pytest.mark.usefixtures("built")
def test_the_root_leads_to_the_page(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 307
    assert answer.headers["Location"] == "llm"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/llm", "/llm/", "/llm/any/view", "/llm/index.html"])
def test_the_page_is_never_kept(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.text == "<title>page</title>"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/llm", "./llm/"),
        ("/llm/", "./"),
        ("/llm/any/view", "./../"),
        ("/llm/a%2Fb", "./"),
        ("/llm/index.html", "./"),
    ],
)
def test_the_page_names_its_files_as_seen_from_where_it_is(
    client: httpx.Client, built: Path, path: str, prefix: str
) -> None:
    (built / "index.html").write_text('<script src="/llm/assets/main-1a2b.js"></script>')
    assert client.get(path).text == f'<script src="{prefix}assets/main-1a2b.js"></script>'


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("accepted", "encoding", "content"),
    [
        ("br, gzip", "br", b"brotli"),
        ("gzip", "gzip", b"gzip"),
        ("identity", None, b"plain"),
        ("br;q=0", None, b"plain"),
        ("br; q=0.000, gzip;q=0.5", "gzip", b"gzip"),
        ("br ; Q=0, *", "gzip", b"gzip"),
        ("br;q=none", None, b"plain"),
    ],
)
def test_hashed_files_are_kept(
    client: httpx.Client, accepted: str, encoding: str | None, content: bytes
) -> None:
    with client.stream("GET", "/llm/assets/main-1a2b.js", headers={"Accept-Encoding": accepted}) as answer:
        assert b"".join(answer.iter_raw()) == content
        assert answer.headers.get("Content-Encoding") == encoding
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "path", ["/llm/..%2fsecret.txt", "/llm/%2e%2e/secret.txt", "/llm/.source-sha256", "/llm/a%00b"]
)
def test_nothing_outside_is_served(client: httpx.Client, path: str) -> None:
    assert "secret" not in client.get(path).text
    assert "hidden" not in client.get(path).text


@pytest.mark.usefixtures("built")
def test_an_old_asset_is_not_the_page(client: httpx.Client) -> None:
    assert client.get("/llm/assets/gone-9.js").status_code == 404


def test_a_page_that_is_not_built_is_told(
    client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path)
    answer = client.get("/llm")
    assert answer.status_code == 503
    assert "make run" in answer.json()["error"]
