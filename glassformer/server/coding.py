"""Which content codings a client takes, by its `Accept-Encoding` (RFC 9110, section 12.5.3)."""

from __future__ import annotations


def accepts_coding(header: str, coding: str) -> bool:
    """Whether a client that sends this header takes `coding`: one that it lists, with a weight above 0."""
    weights = dict(read_weight(part) for part in header.split(","))
    return weights.get(coding, weights.get("*", 0.0)) > 0


def read_weight(part: str) -> tuple[str, float]:
    """One coding of the header, and how much it is wanted."""
    name, *parameters = (each.strip().lower() for each in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name, weight
