"""The tools that a request offers and which of them may or must be called. Knows no model.

Both forms are read: OpenAI's for chats, with a `function` inside, and its flat one for responses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from glassformer.conversation.call_grammar import Tool
from glassformer.errors import BadValue
from glassformer.server.openai.turn_message import check_texts

MOST_TOOLS = 128
# Names stand in the model's own form of a call as they are, so nothing that could end them may be in one.
NAME = re.compile(r"[\w.:/-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class ToolUse:
    """The tools that may be called, those that are told, and whether one must be."""

    offered: Sequence[Tool] = ()
    told: Sequence[Tool] = ()
    required: bool = False
    several: bool = True
    # Of each tool by name: where its schema stands in the request.
    fields: dict[str, str] = field(default_factory=dict)


def read_tools(value: object) -> list[tuple[Tool, str]]:
    """Each tool with the place of its schema. Raises BadValue."""
    if not isinstance(value, list):
        raise BadValue("tools is a list of functions.", field="tools")
    if len(value) > MOST_TOOLS:
        raise BadValue(f"At most {MOST_TOOLS} tools can be offered.", field="tools")
    found: list[tuple[Tool, str]] = []
    for place, entry in enumerate(value):
        where = f"tools.{place}"
        if not isinstance(entry, dict) or entry.get("type") != "function":
            kind = entry.get("type") if isinstance(entry, dict) else entry
            raise BadValue(
                f"{where}: tools of type {str(kind)[:40]!r} are not supported, only functions.", field=where
            )
        function = entry.get("function", entry)
        where = f"{where}.function" if "function" in entry else where
        found.append((read_tool(function, where), f"{where}.parameters"))
    names = [tool.name for tool, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise BadValue(f"Two tools have the name {name!r}.", field="tools")
    return found


def read_tool(function: object, where: str) -> Tool:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadValue(f"{where} needs a name.", field=where)
    name = function["name"]
    if not NAME.fullmatch(name):
        raise BadValue(
            f"{where}.name has 1 to 64 letters, digits and the characters . : / _ and -.",
            field=f"{where}.name",
        )
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        raise BadValue(f"{where}.parameters is the JSON schema of an object.", field=f"{where}.parameters")
    description = function.get("description") or ""
    try:
        check_texts([description, parameters])
    except (ValueError, RecursionError) as error:
        raise BadValue(f"{where} {error}.", field=where) from None
    return Tool(name, str(description), {"type": "object", **parameters})


def choose(tools: Sequence[tuple[Tool, str]], choice: object, *, several: bool | None) -> ToolUse:
    """What a request's `tools` and `tool_choice` come to. Raises BadValue.

    Left open, several calls may come where the model chooses to call, and one where it must: a small model that must
    would not stop.
    """
    told = [tool for tool, _ in tools]
    fields = {tool.name: where for tool, where in tools}
    if choice == "none":
        return ToolUse()
    if choice in (None, "auto"):
        return ToolUse(told, told, required=False, several=several is not False, fields=fields)
    if not told:
        raise BadValue("tool_choice needs tools to choose from.", field="tool_choice")
    if choice == "required":
        return ToolUse(told, told, required=True, several=bool(several), fields=fields)
    names, required, is_one = read_choice(choice)
    unknown = [name for name in names if name not in fields]
    if unknown:
        raise BadValue(
            f"tool_choice: there is no tool {unknown[0][:80]!r} among those offered.", field="tool_choice"
        )
    offered = [tool for tool in told if tool.name in names]
    return ToolUse(offered, told, required=required, several=bool(several) and not is_one, fields=fields)


def read_choice(choice: object) -> tuple[list[str], bool, bool]:
    """The names that an object chooses, whether one of them must be called, and whether it is a single one."""
    if isinstance(choice, dict):
        if choice.get("type") == "function":
            name = choice.get("function", choice)
            if isinstance(name, dict) and isinstance(name.get("name"), str):
                return [name["name"]], True, True
        if choice.get("type") == "allowed_tools":
            allowed = choice.get("allowed_tools", choice)
            chosen = allowed.get("tools") if isinstance(allowed, dict) else None
            if isinstance(chosen, list) and chosen and all(isinstance(one, dict) for one in chosen):
                names = [
                    str((one["function"] if isinstance(one.get("function"), dict) else one).get("name"))
                    for one in chosen
                ]
                return names, allowed.get("mode") == "required", False
    raise BadValue(
        "tool_choice is none, auto, required, a function by its name, or the allowed ones of them.",
        field="tool_choice",
    )


Tools = Annotated[list[Any], BeforeValidator(lambda value: read_tools(value) and value)]
