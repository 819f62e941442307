"""What the page may do, and where it may be shown, as its Content-Security-Policy says it."""

from __future__ import annotations

import re
from collections.abc import Sequence

ALLOWED = (
    "default-src 'self'",
    # No script but the page's own files; codecs of compressed chunks are WebAssembly.
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    # KaTeX places the parts of an equation by attributes.
    "style-src-attr 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
)
# Frames of VS Code's notebooks, on a desktop and in a browser, and of Colab's.
NOTEBOOKS = (
    "vscode-webview:",
    "vscode-file:",
    "https://*.vscode-cdn.net",
    "https://colab.research.google.com",
    "https://*.googleusercontent.com",
)


def write_policy(host: str, origins: Sequence[str]) -> str:
    """The policy of a page that was asked for from `host`, for a server whose `cors_origins` are `origins`.

    A notebook is another program on the same machine, at another port: pages from there may frame this one, as those of
    the origins may. A foreign page may not: under something else, it could have one's clicks land here.
    """
    return "; ".join((*ALLOWED, " ".join(("frame-ancestors 'self'", *list_ancestors(host, origins)))))


def list_ancestors(host: str, origins: Sequence[str]) -> list[str]:
    if "*" in origins:
        return ["*", *NOTEBOOKS]
    name = re.sub(r":\d*$", "", host.strip().lower())
    # An address of IPv6 cannot be written in a policy.
    names = ["localhost", "127.0.0.1", *([name] if re.fullmatch(r"[a-z0-9._-]+", name) else [])]
    own = [f"{scheme}://{each}:*" for each in dict.fromkeys(names) for scheme in ("http", "https")]
    foreign = [each.rstrip("/") for each in origins if re.fullmatch(r"https?://[\w.:-]+/?", each)]
    return [*own, *foreign, *NOTEBOOKS]
