"""The real server on a real port, in a thread; and the two kinds of reader of its streams."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from glassformer.server.services import Services
from glassformer.server.startup import Server, build_server, take_port
from glassformer.settings import Settings


@dataclass
class Running:
    """A server that answers."""

    url: str
    server: Server
    services: Services

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **options)


@contextmanager
def serving(model_dir: Path | None = None, **settings: Any) -> Iterator[Running]:
    """A server with `settings`; by default its models are those of `model_dir`, the default one `llama`."""
    given = {
        "port": 0,
        "offline": True,
        "default_model": "llama",
        "model_dirs": [model_dir] if model_dir else [],
        "device": "cpu",
        "shutdown_timeout_secs": 1.0,
        **settings,
    }
    chosen = Settings(**given)
    listener = take_port(chosen)
    started = threading.Event()
    server = build_server(chosen, on_ready=started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Running(url, server, server.config.app.state.services)  # type: ignore[union-attr]
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server does not stop"


def read_standard(raw: str) -> str:
    """A parser as WHATWG HTML 9.2.6 says: the data of all `message` events, joined."""
    text, data, name = "", [], ""
    for line in raw.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line == "":
            if data and name in ("", "message"):
                text += "\n".join(data)
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    return text


# What String.prototype.trimStart takes away in JavaScript.
JAVASCRIPT_SPACE = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff".replace(
    "\u2000-\u200a", "".join(map(chr, range(0x2000, 0x200B)))
)


def read_trimming(raw: str) -> str:
    """The existing front end: split at blank lines, keep chunks that start with `data:`, trim their start."""
    payloads = [
        chunk[len("data:") :].lstrip(JAVASCRIPT_SPACE)
        for chunk in raw.split("\n\n")
        if chunk.startswith("data:")
    ]
    return "".join(payload for payload in payloads if payload)


def read_events(raw: str) -> list[tuple[str, str, str]]:
    """The (event, id, data) of every event."""
    found = []
    for chunk in raw.split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in chunk.split("\n"):
            name, _, value = line.partition(": ")
            fields.setdefault(name, []).append(value)
        if "data" in fields:
            found.append(
                (
                    fields.get("event", ["message"])[0],
                    fields.get("id", [""])[0],
                    "\n".join(fields["data"]),
                )
            )
    return found
