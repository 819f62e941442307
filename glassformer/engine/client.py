"""Who asks, for what is submitted from this context: generations of one client never keep those of others waiting."""

from __future__ import annotations

from contextvars import ContextVar

# A name that means nothing beyond this process: the digest of an API key, else an address.
CLIENT: ContextVar[str] = ContextVar("client", default="")
