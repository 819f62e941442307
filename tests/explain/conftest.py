"""Tiny models of real families, traced once for all tests here."""

from tracing import case, close, llama, mixture, store  # noqa: F401
