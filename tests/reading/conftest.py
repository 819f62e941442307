"""A store for the runs of all tests here."""

from tracing import store  # noqa: F401
