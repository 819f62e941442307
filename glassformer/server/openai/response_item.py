"""The items of a response's input as a conversation: messages, calls with what came of them, reasoning.

Answers come back as the items they were told in, so several items make one message of the assistant's. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from glassformer.errors import BadValue
from glassformer.protocol.checked_text import require_text
from glassformer.server.openai.turn_message import TurnMessage

FIELD = "input"
MOST_ITEMS = 4096


def read_input(value: object) -> list[dict[str, Any]]:
    """A request's input as items, each checked. Raises BadValue naming it by its place."""
    if isinstance(value, str):
        require_text(value, FIELD)
        return [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise BadValue("input is a text or a list of items.", field=FIELD)
    if len(value) > MOST_ITEMS:
        raise BadValue(f"input holds at most {MOST_ITEMS} items.", field=FIELD)
    for place, item in enumerate(value):
        where = f"{FIELD}.{place}"
        if not isinstance(item, dict):
            raise BadValue(f"{where} is no item.", field=where)
        read_item(item, where)
    return value


def read_item(item: dict[str, Any], where: str) -> TurnMessage | str:
    """The message of one item, or the reasoning that comes before the next. Raises BadValue."""
    kind = item.get("type", "message")
    if kind == "reasoning":
        return read_reasoning(item)
    if kind == "message":
        fields: dict[str, Any] = {name: item[name] for name in ("role", "content") if name in item}
    elif kind == "function_call":
        function = {name: item.get(name) for name in ("name", "arguments")}
        fields = {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
    elif kind == "function_call_output":
        fields = {"role": "tool", "content": item.get("output"), "tool_call_id": item.get("call_id")}
    else:
        raise BadValue(
            f"{where}: items of type {str(kind)[:40]!r} are not supported; messages, function calls with their "
            "outputs, and reasoning are.",
            field=where,
        )
    try:
        return TurnMessage.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        names = [str(part) for part in first["loc"] if part not in ("tool_calls", 0, "function")]
        sentence = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
        if kind != "message":
            names = [
                "output" if name == "content" else name.replace("tool_call_id", "call_id") for name in names
            ]
        place = ".".join([where, *names])
        raise BadValue(f"{place}: {sentence}.", field=place) from None


def read_reasoning(item: dict[str, Any]) -> str:
    """What was thought, whole where it was told so, else its summary."""
    for name in ("content", "summary"):
        parts = item.get(name)
        if isinstance(parts, list):
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            text = "\n".join(one for one in texts if isinstance(one, str))
            if text:
                return text
    return ""


def tell_items(response_id: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that a response was asked, as they are listed: each with an id, which it keeps, and texts in parts."""
    found = []
    for place, item in enumerate(items):
        kind = item.get("type", "message")
        given = {name: value for name, value in item.items() if value is not None}
        told = {"id": f"item_{place}_{response_id}", "type": kind, "status": "completed", **given}
        if kind == "message" and isinstance(item.get("content"), str):
            part = "output_text" if item.get("role") == "assistant" else "input_text"
            extra: dict[str, Any] = {"annotations": []} if part == "output_text" else {}
            told["content"] = [{"type": part, "text": item["content"], **extra}]
        found.append(told)
    return found


def read_turns(items: Sequence[dict[str, Any]], instructions: str | None) -> list[TurnMessage]:
    """The conversation: what leads it as one system message, and the calls of one answer together. Raises BadValue."""
    leading: list[str] = [instructions] if instructions else []
    turns: list[TurnMessage] = []
    thought = ""
    call_ids: set[str | None] = set()
    for place, item in enumerate(items):
        turn = read_item(item, f"{FIELD}.{place}")
        if isinstance(turn, str):
            thought = turn
            continue
        if turn.role in ("system", "developer") and not turns:
            leading.append(turn.content)
            continue
        if turn.role == "tool" and turn.tool_call_id not in call_ids:
            raise BadValue(
                f"No tool call found for the output of call {str(turn.tool_call_id)[:80]!r}.", field=FIELD
            )
        call_ids.update(call.id for call in turn.tool_calls)
        last = turns[-1] if turns else None
        if turn.tool_calls and last is not None and last.role == "assistant" and not thought:
            turns[-1] = last.model_copy(update={"tool_calls": [*last.tool_calls, *turn.tool_calls]})
            continue
        if turn.role == "assistant" and thought:
            turn = turn.model_copy(update={"reasoning_content": thought})
        thought = ""
        turns.append(turn)
    if leading:
        turns.insert(0, TurnMessage(role="system", content="\n\n".join(leading)))
    return turns
