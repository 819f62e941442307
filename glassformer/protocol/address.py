"""Addresses: one name for every tensor of a run, the same in Python, on the wire and on the page."""

from __future__ import annotations

from glassformer.errors import UnknownAddress


def split_address(address: str) -> tuple[str, int | None]:
    """`"q.3"` -> `("q", 3)`, `"embeddings"` -> `("embeddings", None)`; `UnknownAddress` for anything else."""
    point, dot, block = address.partition(".")
    if not dot:
        return point, None
    if not block.isdecimal():
        raise UnknownAddress(address, f"{address!r} is not an address: it should look like 'attn_probs.3'.")
    return point, int(block)
