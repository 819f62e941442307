"""A model hub of our own on a local port: just what the hub's client library asks for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            self.send_json(*self.describe(path.removeprefix("/api/models/")))
            return
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        _, _, name = rest.partition("/")
        file = self.root / repo / name
        if not (self.root / repo).is_dir():
            self.send_json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif not file.is_file():
            self.send_json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        else:
            body = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    def describe(self, path: str) -> tuple[int, object]:
        repo = path.split("/revision/", maxsplit=1)[0].split("/tree/", maxsplit=1)[0]
        if repo.startswith("gated/"):
            return 403, {"error": "gated"}
        if not (self.root / repo).is_dir():
            return 404, {"error": "Repository not found"}
        files = sorted(file for file in (self.root / repo).rglob("*") if file.is_file())
        names = [file.relative_to(self.root / repo).as_posix() for file in files]
        if "/tree/" in path:
            return 200, [
                {
                    "type": "file",
                    "path": name,
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest(),
                }
                for name, file in zip(names, files, strict=True)
            ]
        return 200, {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}

    def send_json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        codes = {404: "RepoNotFound", 403: "GatedRepo"}
        for name, text in {"X-Error-Code": codes.get(status, ""), **(headers or {})}.items():
            if text:
                self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def local_hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub with the models of `root`, and what it is asked."""
    asked: list[str] = []
    handler = type("Rooted", (Handler,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
