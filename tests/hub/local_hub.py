"""A model hub of our own on local ports: the few calls the hub's client library makes, answered as the real one does.

Small files come straight, weights by way of a redirect to another host with ranges (as large files on the hub lie
elsewhere). Repositories can be gated, private or renamed; transfers can be cut.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Asked:
    """One request, and how many bytes of a file were sent for it."""

    method: str
    path: str
    token: str | None
    first_byte: int | None
    sent_bytes: int = 0

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_transfer(self) -> bool:
        """Of a whole file or the rest of one; reading the head of a file is none."""
        return self.method == "GET" and self.path.startswith("/cdn/")


@dataclass
class LocalHub:
    """The models of `root`, by owner and name, and what is to happen to whom."""

    root: Path
    url: str = ""
    token: str = "hf_the-only-good-token"
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    # Other revisions than `main`: (repository, revision) -> folder.
    revisions: dict[tuple[str, str], Path] = field(default_factory=dict)
    # Sizes the hub tells instead of the true ones, by file name.
    told_bytes: dict[str, int] = field(default_factory=dict)
    # After how many bytes the next transfer of a file is cut, by file name; and whether the hub is down after that.
    cut_after: dict[str, int] = field(default_factory=dict)
    is_down_after_cut: bool = False
    cuts_last: bool = False  # once the model's other files have been sent
    is_down: bool = False
    asked: list[Asked] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [asked.line for asked in self.asked]

    @property
    def transfers(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.is_transfer and asked.first_byte != 0]

    def find(self, repo: str, revision: str) -> tuple[Path, str] | None:
        """The folder and the commit of a revision, which may be a commit itself."""
        for (owner, name), folder in {**self.revisions, (repo, "main"): self.root / repo}.items():
            commit = hashlib.sha1(f"{owner}@{name}".encode(), usedforsecurity=False).hexdigest()
            if owner == repo and revision in (name, commit):
                return folder, commit
        return None


class Handler(BaseHTTPRequestHandler):
    hub: LocalHub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        authorization = self.headers.get("Authorization")
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.asked = Asked(
            self.command,
            path,
            authorization.removeprefix("Bearer ") if authorization else None,
            int(span[1]) if span else None,
        )
        self.hub.asked.append(self.asked)
        if self.hub.is_down:
            self.send_json(503, {"error": "down"})
        elif path.startswith("/cdn/"):
            self.send_large(Path("/" + path.removeprefix("/cdn/")), span)
        elif found := re.fullmatch(r"/api/models/(.+?)(?:/revision/(.+))?", path):
            self.send_info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/(.+?)/resolve/(.+)/([^/]+)", path):
            self.send_file(found[1], found[2], found[3])
        else:
            self.send_json(404, {"error": "nothing here"})

    def is_refused(self, repo: str) -> bool:
        """Answer where the repository is not for who asks, does not exist, or has another name."""
        if repo in self.hub.renamed:
            self.send_response(307)
            self.send_header("Location", self.path.replace(repo, self.hub.renamed[repo], 1))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.asked.token not in (None, self.hub.token):
            self.send_json(
                401, {"error": "token"}, {"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        elif repo in self.hub.private and self.asked.token is None:
            self.send_json(401, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        elif not (self.hub.root / repo).is_dir():
            self.send_json(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        else:
            return False
        return True

    def send_info(self, repo: str, revision: str) -> None:
        """What a repository holds. The real hub tells it of gated ones too."""
        if self.is_refused(repo):
            return
        found = self.hub.find(repo, revision)
        if found is None:
            self.send_json(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
            return
        folder, commit = found
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        siblings = [
            {
                "rfilename": file.relative_to(folder).as_posix(),
                "size": self.hub.told_bytes.get(file.name, file.stat().st_size),
            }
            for file in files
        ]
        self.send_json(200, {"id": repo, "sha": commit, "siblings": siblings})

    def send_file(self, repo: str, revision: str, name: str) -> None:
        if self.is_refused(repo):
            return
        if repo in self.hub.gated and self.asked.token is None:
            self.send_json(401, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
            return
        found = self.hub.find(repo, revision)
        if found is None:
            self.send_json(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
            return
        file, commit = found[0] / name, found[1]
        if not file.is_file():
            self.send_json(
                404, {"error": "no file"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
            return
        body = file.read_bytes()
        if name.endswith(".safetensors"):
            self.send_response(302)
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(body)))
            # Another name of this machine: for a client that is another host, which is owed no token.
            elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
            self.send_header("Location", f"{elsewhere}/cdn{file}")
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        is_whole = not name.endswith(".safetensors")
        self.send_header("Content-Length", str(len(body) if is_whole else 0))
        self.end_headers()
        if self.command == "GET" and is_whole:
            self.wfile.write(body)

    def send_large(self, file: Path, span: re.Match[str] | None) -> None:
        body = file.read_bytes()
        start, stop = 0, len(body)
        if span:
            start = int(span[1])
            stop = min(stop, int(span[2]) + 1) if span[2] else stop
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        is_head = bool(span) and start == 0
        cut = None if is_head or self.command == "HEAD" else self.hub.cut_after.pop(file.name, None)
        if self.command == "GET":
            part = body[start:stop] if cut is None else body[start : start + cut]
            self.wfile.write(part)
            self.asked.sent_bytes = len(part)
        if cut is not None:
            if self.hub.cuts_last:
                self.wait_for_others(file)
            self.hub.is_down = self.hub.is_down_after_cut
            self.close_connection = True

    def wait_for_others(self, file: Path) -> None:
        """Until the client, which fetches several files at once, has all the others of the model."""
        index = json.loads((file.parent / "model.safetensors.index.json").read_text())
        others = {name for name in index["weight_map"].values() if name != file.name}
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            whole = {Path(asked.path).name for asked in self.hub.transfers if asked.sent_bytes}
            if others <= whole:
                return
            time.sleep(0.01)

    def send_json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def local_hub(root: Path) -> Iterator[LocalHub]:
    """A hub with the models of `root`."""
    hub = LocalHub(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Rooted", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
