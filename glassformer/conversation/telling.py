"""Tools, calls and results in a conversation, told as far as the model's template tells them and in our words else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from glassformer.conversation.call_format import CallFormat, Pairs, Slot
from glassformer.conversation.call_grammar import Tool
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import unmark

RESULT = "<tool_response>\n{}\n</tool_response>"


def tell(conversation: Conversation, calls: CallFormat, tools: Sequence[Tool]) -> Conversation:
    """The conversation with `tools` offered, and with calls and results as the model's template knows them."""
    messages = [tell_message(message, calls) for message in conversation.messages]
    messages = join_results(messages)
    if not tools:
        return replace(conversation, messages=messages)
    if calls.is_native and calls.tells_tools:
        return replace(conversation, messages=messages, tools=[tool.as_template() for tool in tools])
    return replace(conversation, messages=add_system(messages, describe_tools(calls, tools)))


def has_calls(conversation: Conversation) -> bool:
    return any(message.get("tool_calls") or message["role"] == "tool" for message in conversation.messages)


def tell_message(message: dict[str, Any], calls: CallFormat) -> dict[str, Any]:
    found = dict(message)
    if message["role"] == "tool" and not calls.tells_results:
        return {"role": "user", "content": RESULT.format(message["content"])}
    made = message.get("tool_calls")
    if not made:
        return found
    if not calls.is_native:
        del found["tool_calls"]
        written = write_calls(calls, [call["function"] for call in made])
        found["content"] = f"{found['content']}\n{written}" if found["content"] else written
    elif calls.takes_text:
        found["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": spell(call["function"]["arguments"])}}
            for call in made
        ]
    return found


def spell(arguments: object) -> str:
    """Arguments as JSON; those of a call that was cut short are text already."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def write_calls(calls: CallFormat, made: Sequence[dict[str, Any]]) -> str:
    """Calls in a form whose arguments are JSON, as the model would have written them."""
    texts = []
    for function in made:
        values = {
            Slot.NAME: function["name"],
            Slot.ARGUMENTS: spell(function["arguments"]),
            Slot.ID: "000000000",
        }
        texts.append("".join(values[part] if isinstance(part, Slot) else part for part in calls.parts))
    between = calls.between if calls.between is not None else f"{calls.tail}\n{calls.head}"
    return unmark(calls.head + between.join(texts) + calls.tail)


def join_results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with results that became a user's turns joined: many templates want turns to alternate."""
    joined: list[dict[str, Any]] = []
    start = RESULT.partition("{}")[0]
    for message in messages:
        last = joined[-1] if joined else {}
        both = (last, message)
        if all(one.get("role") == "user" for one in both) and str(last["content"]).startswith(start):
            joined[-1] = {**last, "content": f"{last['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def describe_tools(calls: CallFormat, tools: Sequence[Tool]) -> str:
    """What a system message says of tools that the template does not tell."""
    lines = [json.dumps(tool.as_template()["function"], ensure_ascii=False) for tool in tools]
    if isinstance(calls.style, Pairs):
        how = ""
    else:
        parts = {Slot.NAME: "NAME", Slot.ARGUMENTS: "{ARGUMENTS}", Slot.ID: "abcdefghi"}
        call = "".join(parts[part] if isinstance(part, Slot) else part for part in calls.parts)
        how = f" To call one, answer with\n{unmark(calls.head + call + calls.tail).strip()}\nand nothing after it."
    return f"You may call these functions.{how}\n" + "\n".join(lines)


def add_system(messages: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """The messages with `text` in their system message, which comes first."""
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def merge_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the system's in the first user's, for templates that know no system."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return messages
    first = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
    return [first, *messages[2:]]
