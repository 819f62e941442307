"""The messages of a conversation as clients send them, and as chat templates read them. Knows no model."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from glassformer.protocol.checked_text import check_text
from glassformer.protocol.message import QuickToRefuse
from glassformer.server.openai.field_name import TEXT_ONLY
from glassformer.server.text_field import Text

# Kinds of content parts that are text, with the field that holds it. The last are those of /v1/responses.
TEXT_PARTS = {"text": "text", "refusal": "refusal", "input_text": "text", "output_text": "text"}
MOST_CALLS = 128


class Part(QuickToRefuse):
    """Base of what stands inside a request; unknown names are ignored there, as answers are sent back whole."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())


def refuse_part(kind: object) -> ValueError:
    return ValueError(f"parts of type {str(kind)[:40]!r} are not supported; this server reads text only")


def join_parts(value: object) -> object:
    """The text of a message's content: a string, or text parts, each a line of its own. Raises ValueError."""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in TEXT_PARTS:
            raise refuse_part(kind)
        text = part.get(TEXT_PARTS[kind])
        if not isinstance(text, str):
            raise ValueError(f"a {kind} part needs a {TEXT_PARTS[kind]}")
        texts.append(text)
    return "\n".join(texts)


def read_arguments(value: object) -> object:
    """A call's arguments as values, from the JSON text that clients send; as text where the call was cut short."""
    if not isinstance(value, str):
        return value
    value = value.replace("\0", "\ufffd").replace("\\u0000", "\\ufffd")  # which a model may have written
    try:
        found = json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, dict) else value


def check_texts(value: Any) -> Any:
    """`value` unchanged, if every text in it can be read. Raises ValueError."""
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_texts(item)
    elif isinstance(value, list):
        for item in value:
            check_texts(item)
    return value


def without_nul(value: Any) -> Any:
    """What an assistant said, in text or in parts, with U+FFFD for each NUL: models write them, and none is read."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [
            {**part, "text": without_nul(part["text"])}
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else part
            for part in value
        ]
    return value


class CalledFunction(Part):
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    arguments: Annotated[
        dict[str, Any] | str, BeforeValidator(read_arguments), AfterValidator(check_texts)
    ] = Field(default_factory=dict)


class ToolCall(Part):
    """A call that the assistant made before."""

    id: Annotated[Text, Field(max_length=200)] = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class TurnMessage(Part):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Text, BeforeValidator(join_parts)]
    name: Annotated[Text, Field(max_length=200)] | None = None
    reasoning_content: Text | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list, max_length=MOST_CALLS)
    tool_call_id: Annotated[Text, Field(max_length=200)] | None = None

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, data: Any) -> Any:
        """What an assistant's message may lack: it is sent back as it came, be it a call, a refusal or cut short.

        Raises ValueError for what is not read here.
        """
        if not isinstance(data, dict):
            return data
        filled = {key: value for key, value in data.items() if value is not None}
        if filled.get("audio"):
            raise ValueError(TEXT_ONLY.rstrip("."))
        if data.get("role") == "assistant":
            if filled.get("function_call"):
                filled.setdefault("tool_calls", [{"function": filled["function_call"]}])
            filled.setdefault("content", filled.get("refusal") or "")
            filled["content"] = without_nul(filled["content"])
            for name in ("reasoning", "thinking"):
                if isinstance(filled.get(name), str):
                    filled.setdefault("reasoning_content", filled[name])
        elif filled.get("tool_calls"):
            raise ValueError("only an assistant calls tools")
        return filled

    def as_message(self) -> dict[str, Any]:
        """The message in the roles and under the names that chat templates know."""
        message: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": self.content,
        }
        if self.name is not None:
            message["name"] = self.name
        if self.reasoning_content and self.role == "assistant":
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        if self.role == "tool" and self.tool_call_id:
            message["tool_call_id"] = self.tool_call_id
        return message


def read_messages(turns: list[TurnMessage]) -> list[dict[str, Any]]:
    """The messages as templates read them; the result of a call is told with the function's name."""
    messages = [turn.as_message() for turn in turns]
    names: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls", ()):
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool" and message.get("tool_call_id") in names:
            message.setdefault("name", names[message["tool_call_id"]])
    return messages
