"""Who may ask: Host and Origin allow-lists, API keys. Pure ASGI, so that streams pass untouched.

A page of a foreign site must neither read from a server on this machine (CORS, DNS rebinding) nor make it work
(requests that need no preflight, WebSockets; a mere image can load a model).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import socket
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from glassformer.engine.client import CLIENT
from glassformer.errors import Forbidden, TooMany, Unauthorized
from glassformer.server.rate import Rate, find_client
from glassformer.settings import LOOPBACK_NAMES, Settings

LOCALHOST_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
# Browsers cannot set headers of a WebSocket; the key travels as a subprotocol, base64url without padding.
KEY_SUBPROTOCOL = "glassformer.key."
PUBLIC_PATHS = frozenset({"/", "/health", "/llm", "/favicon.ico"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# So many wrong keys are known again.
MOST_WRONG_KEYS = 1000


def origin_pattern(origins: Sequence[str]) -> str:
    """A regular expression for the whole of an allowed Origin header."""
    if "*" in origins:
        return ".*"
    return "|".join(
        LOCALHOST_ORIGIN if origin == "localhost" else re.escape(origin.rstrip("/")) for origin in origins
    )


def is_public(path: str) -> bool:
    """Paths that need no key: whether the server lives, and the page's own files."""
    return path in PUBLIC_PATHS or path.startswith("/llm/")


class HostGuard:
    """Refuses requests that call this server by a foreign name, and foreign pages that want it to work."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.any_name = "*" in settings.allowed_hosts
        self.names = {
            *LOOPBACK_NAMES,
            settings.host.lower(),
            *(name.lower() for name in settings.allowed_hosts),
        }
        # Beyond this machine the server has addresses it cannot list; a name is needed to rebind, an address is not.
        self.any_address = not settings.is_loopback
        if self.any_address:
            self.names.add(socket.gethostname().lower())
        self.origins = re.compile(origin_pattern(settings.cors_origins))
        self.any_origin = "*" in settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            if not self.is_known(host):
                raise Forbidden("This server is not called by that name; see the setting allowed_hosts.")
            if self.is_foreign(headers) and not is_visit(scope):
                raise Forbidden("Pages of that origin may not use this server; see the setting cors_origins.")
        await self.app(scope, receive, send)

    def is_known(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name = re.sub(r":\d{1,5}$", "", host.strip().lower()) if not host.endswith("]") else host
        name = name.removeprefix("[").removesuffix("]")
        if self.any_name or name in self.names:
            return True
        return self.any_address and is_address(name)

    def is_foreign(self, headers: Headers) -> bool:
        """Whether a page that may not use this server makes the request; other programs send neither header."""
        origin = headers.get("origin")
        if origin is None:
            # Images, scripts and links of a page name no origin; browsers say that much of where they come from.
            return headers.get("sec-fetch-site") == "cross-site" and not self.any_origin
        host = headers.get("host", "").strip().lower()
        return not self.origins.fullmatch(origin) and urlsplit(origin).netloc.lower() != host


def is_visit(scope: Scope) -> bool:
    """Whether a request only opens the page or asks whether the server lives: links to it stand anywhere."""
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS and is_public(scope["path"])


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class KeyGuard:
    """Asks for an API key everywhere but on public paths, and says who asks.

    Keys are compared by digest, in constant time.

    A client that has guessed too often does not learn whether its next key is right. A program that goes on with an old
    key guesses nothing: the same wrong key counts once.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.digests = [digest(key.get_secret_value()) for key in settings.api_keys]
        self.guesses = Rate(settings.wrong_key_limit)
        # Digests of keys that were wrong, the latest last.
        self.wrong: OrderedDict[bytes, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and not is_public(scope["path"]):
            CLIENT.set(self.identify(scope))
        await self.app(scope, receive, send)

    def identify(self, scope: Scope) -> str:
        """Who asks: a key, or where none is needed an address. Raises Unauthorized and TooMany as `check` does."""
        client = find_client(scope)
        if not self.digests:
            return client
        key = find_key(Headers(scope=scope))
        if key is None:
            raise Unauthorized("An API key is needed: Authorization: Bearer KEY.")
        self.check(digest(key), client)
        return digest(key).hex()

    def check(self, given: bytes, client: str) -> None:
        """Raises Unauthorized for a wrong key, and TooMany where the client has tried too many."""
        if given not in self.wrong:
            wait_secs = self.guesses.wait_secs(client)
            if wait_secs:
                raise TooMany("Too many wrong API keys; wait a little.", retry_after_secs=wait_secs)
            if self.is_right(given):
                return
            self.guesses.count(client)
            self.wrong[given] = None
            if len(self.wrong) > MOST_WRONG_KEYS:
                self.wrong.popitem(last=False)
        raise Unauthorized("The API key is wrong.")

    def is_right(self, given: bytes) -> bool:
        # A sum, so that every key is compared whatever the first one says.
        return sum(hmac.compare_digest(given, known) for known in self.digests) > 0


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def find_key(headers: Headers) -> str | None:
    """The key a request carries, as a Bearer token or as a WebSocket subprotocol."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        name = protocol.strip()
        if name.startswith(KEY_SUBPROTOCOL):
            code = name.removeprefix(KEY_SUBPROTOCOL)
            try:
                return base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).decode()
            except (binascii.Error, ValueError):
                return None
    return None
