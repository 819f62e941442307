"""What all messages have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Base of all messages: unknown fields are refused, so that a typing slip is heard."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
