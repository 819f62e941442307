"""What a recording is asked for, checked as far as its message's own types leave it open, and as token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glassformer.errors import BadValue
from glassformer.protocol.checked_text import require_text
from glassformer.protocol.messages import TraceRequest

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel


def check_request(body: TraceRequest) -> None:
    """Raises BadValue for anything that no model could be asked."""
    given = [name for name in ("prompt", "messages", "token_ids") if getattr(body, name) is not None]
    if len(given) != 1:
        raise BadValue(
            "Exactly one of prompt, messages and token_ids is needed.", field=(given or ["prompt"])[-1]
        )
    if body.prompt is not None:
        require_text(body.prompt, "prompt")
    for message in body.messages or []:
        if message.content or message.role != "assistant":  # who was cut off before a word said nothing
            require_text(message.content, "messages")


def encode_request(body: TraceRequest, loaded: LoadedModel) -> tuple[list[int], str]:
    """The token ids to run, and the field they came from."""
    if body.token_ids is not None:
        return loaded.check_ids(body.token_ids), "token_ids"
    if body.messages is not None:
        if not body.messages:
            raise BadValue("messages must not be empty.", field="messages")
        return loaded.encode_chat(body.messages), "messages"
    return loaded.encode(body.prompt or "", control_tokens=body.control_tokens), "prompt"
