"""Logging for the whole process: our events and the libraries' alike, as text or JSON lines on standard error.

Faults are told by `fault.py` in both, and the server's own secrets are taken out of every line at the end.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import structlog

from glassformer.fault import LEFT_OUT, describe_calls
from glassformer.settings import Settings

# They repeat at level info what our own log says.
QUIET = ("httpx", "httpcore", "filelock", "urllib3", "asyncio", "websockets", "uvicorn", "huggingface_hub")


def configure_logging(settings: Settings) -> None:
    """Set up structlog and the standard library's logging. Keys and prompts are never logged anywhere."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    wants_text = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = make_text_renderer() if wants_text else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(describe_calls),
                renderer,
                hide_secrets(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # What no thread catches, the interpreter would print with everything that its message quotes.
    threading.excepthook = lambda args: root.error(
        "a thread ended in a fault",
        exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
    )


def configure_unless_done(least: int) -> None:
    """Where the app is part of another program that has not set structlog up: text, and faults as everywhere."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(describe_calls),
            make_text_renderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        # Looked up for each line: notebooks and tests put another one in its place.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def make_text_renderer() -> structlog.typing.Processor:
    # The usual formatter draws every variable of every call: prompts, keys and megabytes.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def hide_secrets(settings: Settings) -> structlog.typing.Processor:
    """The last processor: it takes the server's keys and tokens out of a line that is ready to be written."""
    held = [*settings.api_keys, *([settings.hub_token] if settings.hub_token else [])]
    secrets = [secret.get_secret_value() for secret in held]

    def hide(_: structlog.typing.WrappedLogger, __: str, line: Any) -> str:
        for secret in filter(None, secrets):
            line = line.replace(secret, LEFT_OUT)
        return str(line)

    return hide
