"""A conversation as a chat template reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Conversation:
    """Messages in the form templates know (`role`, `content`, `tool_calls`, ...), and what is rendered beside them.

    Arguments of calls are values, not JSON text. `continues` leaves the last message open, for the model to go on with
    it; otherwise `prompts` opens a new one of the assistant's. `variables` are the template's own switches.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    prompts: bool = True
    continues: bool = False
