"""Every exception of Glassformer, in one tree.

```
GlassformerError            one clear sentence for the person who asked; no paths, no addresses
├── BadValue                a value that cannot be used; `field` names it
│   ├── TooLong             more tokens than the model's context (or the server's limit) holds
│   ├── GoneResponse        a response to go on from that is not kept; `response_id`
│   └── UnknownAddress      the model has no such site, or refuses it; `address`
├── NotFound                what was named does not exist
│   ├── UnknownModel        no such bundled model, folder or hub repository; `model_id`
│   ├── UnknownShape        no bundled shape or model of that id; `shape_id`
│   ├── UnknownTrace        no recording of that id; `trace_id`
│   ├── UnknownResponse     no response of that id; `response_id`
│   └── UnknownKey          no such key in a Zarr store; `key`
├── ModelRefused            the model exists and will not be loaded: pickled weights, code in its config...
│   └── ModelGated          its owners let only some in, and this server's hub token is not among them
├── ModelFailed             the model was tried and could not be loaded
├── Unavailable             not now; `retry_after_secs`
│   ├── HubUnreachable      the model hub does not answer
│   ├── NoRoom              no memory left for it
│   ├── Stopping            the server ends
│   └── InUse               something that is running needs it
├── TooLarge                a body, header or array past its limit
├── TooMany                 a rate or queue limit; `retry_after_secs`
├── Unauthorized            a missing or wrong API key
├── Forbidden               a host or origin that is not allowed
├── DeadlinePassed          the request took longer than the server allows
├── NobodyWaits             who asked has left; ends what was being computed, and is seen by nobody
└── StartError              the program cannot start; the command line ends with exit code 1
    ├── PortInUse           another program listens there; `port`
    ├── CacheNotWritable    the model cache cannot be written
    └── UnsafeHost          listening beyond this machine without API keys
```

`message` is the sentence, `field` the request field to blame, if any. Which HTTP status each becomes is
decided in `glassformer.server.error_answer` alone.
"""

from __future__ import annotations

from urllib.parse import quote


class GlassformerError(Exception):
    """Base of all; never raised itself."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


# --- what was asked ------------------------------------------------------------------------------


class BadValue(GlassformerError):
    """A value that cannot be used; `field` names it."""


class TooLong(BadValue):
    """More tokens than the model's context (or the server's limit) holds."""


class GoneResponse(BadValue):
    """A response to go on from that was not stored, or has made way for newer ones."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id {response_id!r} not found: it was not stored, or has made way for newer ones.",
            field="previous_response_id",
        )
        self.response_id = response_id


class UnknownAddress(BadValue):
    """The model has no such site, or the site is refused."""

    def __init__(self, address: str, message: str | None = None, *, field: str | None = "address") -> None:
        super().__init__(message or f"This model has no site {address!r}.", field=field)
        self.address = address


class NotFound(GlassformerError):
    """What was named does not exist."""


class UnknownModel(NotFound):
    """No such bundled model, folder or hub repository."""

    def __init__(self, model_id: str, message: str | None = None) -> None:
        super().__init__(message or f"There is no model {model_id!r} here.", field="model_id")
        self.model_id = model_id


class UnknownShape(NotFound):
    """No bundled shape, folder or hub repository."""

    def __init__(self, shape_id: str, message: str) -> None:
        super().__init__(message, field="shape_id")
        self.shape_id = shape_id


class UnknownTrace(NotFound):
    """No recording of that id."""

    def __init__(self, trace_id: str) -> None:
        super().__init__(f"There is no recording {trace_id!r}; it may have been deleted.", field="trace_id")
        self.trace_id = trace_id


class UnknownResponse(NotFound):
    """No response of that id is kept."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id {response_id!r} not found.", field="response_id")
        self.response_id = response_id


class UnknownKey(NotFound):
    """No such key in a Zarr store."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The store has no key {key!r}.", field="key")
        self.key = key


# --- the model -----------------------------------------------------------------------------------


class ModelRefused(GlassformerError):
    """The model exists and will not be loaded: pickled weights, code in its config, not a causal model."""

    def __init__(self, message: str, *, field: str | None = "model_id") -> None:
        super().__init__(message, field=field)


class ModelGated(ModelRefused):
    """The model's owners let only some in, and this server's hub token is not among them."""


class ModelFailed(GlassformerError):
    """The model was tried and could not be loaded."""

    def __init__(self, message: str, *, field: str | None = "model_id") -> None:
        super().__init__(message, field=field)


# --- not now -------------------------------------------------------------------------------------


class Unavailable(GlassformerError):
    """Not now; the same request may work after `retry_after_secs`."""

    def __init__(self, message: str, *, field: str | None = None, retry_after_secs: float = 5.0) -> None:
        super().__init__(message, field=field)
        self.retry_after_secs = retry_after_secs


class HubUnreachable(Unavailable):
    """The model hub does not answer."""


class NoRoom(Unavailable):
    """No memory left for it; `shape_id` names what can be drawn of it all the same, from its config."""

    shape_id: str | None = None


class Stopping(Unavailable):
    """The server ends; whoever asks again may meet the next one."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.")


class InUse(Unavailable):
    """Something that is running needs it."""


# --- limits and doors ----------------------------------------------------------------------------


class TooLarge(GlassformerError):
    """A body, header or array past its limit."""


class TooMany(GlassformerError):
    """A rate or queue limit; the same request may work after `retry_after_secs`."""

    def __init__(self, message: str, *, field: str | None = None, retry_after_secs: float = 1.0) -> None:
        super().__init__(message, field=field)
        self.retry_after_secs = retry_after_secs


class Unauthorized(GlassformerError):
    """A missing or wrong API key."""


class Forbidden(GlassformerError):
    """A host or origin that is not allowed."""


class DeadlinePassed(GlassformerError):
    """The request took longer than the server allows."""


class NobodyWaits(GlassformerError):
    """Who asked has left: ends what was being computed for them, and is seen by nobody."""


# --- the program ---------------------------------------------------------------------------------


class StartError(GlassformerError):
    """The program cannot start; the command line prints the sentence and ends with exit code 1."""


class PortInUse(StartError):
    """Another program listens there."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} is in use by another program; choose another with --port.", field="port"
        )
        self.port = port


class CacheNotWritable(StartError):
    """The model cache cannot be written."""


class UnsafeHost(StartError):
    """Listening beyond this machine without API keys."""


# --- telling -------------------------------------------------------------------------------------

FAULT = "The server met a fault of its own; it has been logged."


def error_body(error: BaseException) -> dict[str, str]:
    """The JSON an error is told by; anything but our own errors is a fault without details."""
    if not isinstance(error, GlassformerError):
        return {"error": FAULT}
    body = {"error": error.message}
    if error.field:
        body["field"] = error.field
    if isinstance(error, NoRoom) and error.shape_id:
        body["shape"] = f"/llm?shape={quote(error.shape_id)}"
    return body
