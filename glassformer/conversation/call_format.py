"""How a model writes the calls of tools, read off its own chat template.

A conversation with calls of marked names and arguments is rendered, and where the marks land says everything: what
opens the calls, what stands between name and arguments, between two calls, and at the end. No model is known by name. A
template that cannot express a call gets the default, which is told to the model in a system message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import CLOSE, OPEN, compile_names
from glassformer.conversation.template import ChatTemplate
from glassformer.errors import BadValue

# Words that stand in no template, as names and arguments that all templates take: letters and underscores, in the order
# of the alphabet; ids have the nine letters and digits that some insist on.
FIRST, SECOND = "qzfirst_function", "qzsecond_function"
FIRST_ID, SECOND_ID = "qzaaaaid1", "qzbbbbid2"
KEYS, VALUES = ("qzkey_a", "qzkey_b"), ("qz value a", "qz value b")
QUESTION, SAID = "qz question", "qz said"
RESULT = "qz result"
NUMBER = 739


class Slot(StrEnum):
    """What differs from call to call."""

    NAME = "name"
    ARGUMENTS = "arguments"
    ID = "id"


@dataclass(frozen=True)
class Pairs:
    """Arguments that are not JSON: names and values, each between marks. Without any, nothing is written.

    `middle` to `close` stand around texts, those of `plain` around all other values, which are JSON.
    """

    open: str
    middle: str
    between: str
    close: str
    plain: tuple[str, str, str]


@dataclass(frozen=True)
class CallFormat:
    """What a model writes for calls: `head`, a call, `between` and another as often as wanted, `tail`.

    Literals are marked text: what stands between the marks is a control token. A call is `parts`. `between` is None
    where an answer holds one call. `style` says how arguments are written, as JSON or as pairs; `takes_text`, that the
    template wants them as JSON text. What the template does not do is told otherwise: tools and calls in words of ours
    (`tells_tools`, `is_native`), results as a user's turn (`tells_results`).
    """

    head: str
    parts: tuple[str | Slot, ...]
    between: str | None
    tail: str
    style: Pairs | Literal["json"] = "json"
    takes_text: bool = False
    tells_tools: bool = True
    tells_results: bool = True
    is_native: bool = True

    @property
    def trigger(self) -> str:
        """The beginning of `head` that nothing but a call begins with: a control token, a tag, or all of it."""
        lead = self.head.lstrip()
        tag = re.match(f"{OPEN}[^{CLOSE}]*{CLOSE}|<[^<>\\s]+>|\\[[A-Z_]+\\]", lead)
        return tag[0] if tag else lead

    @property
    def comes_first(self) -> bool:
        """Whether only the beginning of an answer can be a call: bare JSON may stand in any text."""
        return re.match(r"[\[{]", self.trigger) is not None and not re.match(r"\[[A-Z_]+\]", self.trigger)


# Hermes' form, the commonest among published models and the easiest to tell from text.
DEFAULT = CallFormat(
    head='<tool_call>\n{"name": "',
    parts=(Slot.NAME, '", "arguments": ', Slot.ARGUMENTS),
    between='}\n</tool_call>\n<tool_call>\n{"name": "',
    tail="}\n</tool_call>",
    tells_tools=False,
    tells_results=False,
    is_native=False,
)


class Unreadable(Exception):
    """The marks did not land where a format could be read off."""


def read_call_format(template: ChatTemplate, end_names: Collection[str]) -> CallFormat:
    """The format of the model's own template, or the default one. `end_names` end a turn."""
    for takes_text in (False, True):
        try:
            return Reader(template, end_names, takes_text=takes_text).read()
        except (Unreadable, BadValue):
            continue
    return DEFAULT


def make_tool(name: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": "qz"} for key in KEYS}
    parameters = {"type": "object", "properties": properties, "required": list(KEYS)}
    return {"type": "function", "function": {"name": name, "description": "qz", "parameters": parameters}}


class Reader:
    """Reads the format off one template, with arguments given as values or as JSON text."""

    def __init__(self, template: ChatTemplate, end_names: Collection[str], *, takes_text: bool) -> None:
        self.template = template
        self.takes_text = takes_text
        self.ends = compile_names(end_names)
        self.special = template.special_names
        self.tools = [make_tool(FIRST), make_tool(SECOND)]
        self.user = {"role": "user", "content": QUESTION}
        said = self.render([self.user, {"role": "assistant", "content": SAID}])
        before, found, self.text_end = said.partition(SAID)
        if not found:
            raise Unreadable
        self.text_start = before
        self.prompt = self.render([self.user], prompts=True)

    def render(self, messages: list[dict[str, Any]], *, prompts: bool = False, has_tools: bool = True) -> str:
        return self.template.render(Conversation(messages, self.tools if has_tools else [], prompts=prompts))

    def call(self, name: str, call_id: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = json.dumps(arguments) if self.takes_text else arguments
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}

    def write(self, calls: list[dict[str, Any]]) -> str:
        """What the assistant's turn of these calls consists of, and whatever follows it."""
        message = {"role": "assistant", "content": "", "tool_calls": calls}
        results = [
            {"role": "tool", "content": RESULT, "tool_call_id": call["id"], "name": call["function"]["name"]}
            for call in calls
        ]
        try:
            text = self.render([self.user, message])
        except BadValue:  # some want to see what came of it
            text = self.render([self.user, message, *results])
        return self.after_start(text)

    def after_start(self, text: str) -> str:
        """What follows the beginning of the assistant's turn."""
        for start in (self.text_start, self.prompt):
            if text.startswith(start):
                return text[len(start) :]
        shared = count_shared(text, self.prompt)
        borders = [match.end() for match in re.finditer(r"[>\]\n]", text[:shared])]
        return text[borders[-1] if borders else shared :]

    def read(self) -> CallFormat:
        """Raises Unreadable, or BadValue where the template refuses a call."""
        arguments = dict(zip(KEYS, VALUES, strict=True))
        first = self.call(FIRST, FIRST_ID, arguments)
        one = self.write([first])
        head, parts, style, end = self.split(one, FIRST, FIRST_ID, arguments)
        tail = self.cut_end(one[end:])
        between = None
        try:
            two = self.write([first, self.call(SECOND, SECOND_ID, arguments)])
        except BadValue:
            two = ""
        if SECOND in two and two.startswith(one[:end]):
            rest = two[end:]
            second = self.split(rest, SECOND, SECOND_ID, arguments, style=style)
            if second[1] == parts and self.cut_end(rest[second[3] :]) == tail:
                between = second[0]
        found = CallFormat(
            head=head, parts=parts, between=between, tail=tail, style=style, takes_text=self.takes_text
        )
        return replace(self.mark(found), tells_tools=self.tells_tools(), tells_results=self.tells_results())

    def split(
        self,
        text: str,
        name: str,
        call_id: str,
        arguments: dict[str, Any],
        style: Pairs | Literal["json"] | None = None,
    ) -> tuple[str, tuple[str | Slot, ...], Pairs | Literal["json"], int]:
        """What stands before the first slot of a call, its parts, their style, and where the last slot ends."""
        places = {Slot.NAME: find_span(text, name)}
        call_place = text.find(call_id)
        if call_place >= 0:
            places[Slot.ID] = (call_place, call_place + len(call_id))
        if isinstance(style, Pairs):
            start = text.index(KEYS[0]) - len(style.open)
            stop = text.index(VALUES[1]) + len(VALUES[1]) + len(style.close)
            places[Slot.ARGUMENTS] = (start, stop)
        else:
            found = find_json(text, arguments)
            if found is None:
                places[Slot.ARGUMENTS], style = self.read_pairs(text, name)
            else:
                places[Slot.ARGUMENTS], style = found
        ordered = sorted(places.items(), key=lambda item: item[1])
        parts: list[str | Slot] = []
        end = ordered[0][1][0]
        for slot, (start, stop) in ordered:
            if start < end:
                raise Unreadable
            if start > end:
                parts.append(text[end:start])
            parts.append(slot)
            end = stop
        return text[: ordered[0][1][0]], tuple(parts), style, end

    def read_pairs(self, two: str, name: str) -> tuple[tuple[int, int], Pairs]:
        """Where the arguments of a call stand that are no JSON, and how each is written."""
        key, value = KEYS[0], VALUES[0]
        none = self.write([self.call(name, FIRST_ID, {})])
        one = self.write([self.call(name, FIRST_ID, {key: value})])
        number = self.write([self.call(name, FIRST_ID, {key: NUMBER, KEYS[1]: NUMBER + 1})])
        start = count_shared(none, one, two)
        after = count_shared(none[start:][::-1], one[start:][::-1], two[start:][::-1])
        inside = two[start : len(two) - after]
        texts = cut(inside, [key, value, KEYS[1], VALUES[1]])
        end = count_shared(none[start:][::-1], number[start:][::-1])
        plain = cut(number[start : len(number) - end], [key, str(NUMBER), KEYS[1], str(NUMBER + 1)])
        if texts[1] != texts[3] or plain[1] != plain[3]:
            raise Unreadable
        pairs = Pairs(texts[0], texts[1], texts[2], texts[4], (plain[1], plain[2], plain[4]))
        if not pairs.middle or not pairs.close or not count_shared(pairs.between, pairs.close):
            raise Unreadable
        return (start, len(two) - after), pairs

    def cut_end(self, text: str) -> str:
        """`text` up to where the turn ends."""
        found = self.ends.search(text) if self.ends else None
        if found:
            return text[: found.start()]
        for length in range(len(self.text_end), 0, -1):
            if text.endswith(self.text_end[:length]):
                return text[: len(text) - length]
        return text

    def tells_tools(self) -> bool:
        return FIRST in self.prompt

    def tells_results(self) -> bool:
        call = self.call(FIRST, FIRST_ID, dict(zip(KEYS, VALUES, strict=True)))
        result = {"role": "tool", "content": RESULT, "tool_call_id": FIRST_ID, "name": FIRST}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        try:
            return RESULT in self.render([self.user, message, result], prompts=True)
        except BadValue:
            return False

    def mark(self, found: CallFormat) -> CallFormat:
        """The format with its control tokens marked."""

        def mark(text: str) -> str:
            return self.special.sub(f"{OPEN}\\g<0>{CLOSE}", text) if self.special else text

        style = found.style
        if isinstance(style, Pairs):
            marked = [mark(text) for text in style.plain]
            style = Pairs(
                mark(style.open),
                mark(style.middle),
                mark(style.between),
                mark(style.close),
                (marked[0], marked[1], marked[2]),
            )
        return replace(
            found,
            head=mark(found.head),
            parts=tuple(part if isinstance(part, Slot) else mark(part) for part in found.parts),
            between=None if found.between is None else mark(found.between),
            tail=mark(found.tail),
            style=style,
        )


def count_shared(*texts: str) -> int:
    """How many characters `texts` begin with alike."""
    first, last = min(texts), max(texts)
    return next((at for at, one in enumerate(first) if last[at : at + 1] != one), len(first))


def find_span(text: str, word: str) -> tuple[int, int]:
    place = text.find(word)
    if place < 0:
        raise Unreadable
    return place, place + len(word)


def find_json(text: str, arguments: dict[str, Any]) -> tuple[tuple[int, int], Literal["json"]] | None:
    """Where the arguments stand as a JSON object, if they do."""
    start = text.rfind("{", 0, max(text.find(KEYS[0]), 0))
    if start < 0:
        return None
    try:
        found, stop = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    return ((start, stop), "json") if found == arguments else None


def cut(text: str, words: Sequence[str]) -> list[str]:
    """What stands before, between and after `words`, which come in this order. Raises Unreadable."""
    pieces = []
    for word in words:
        before, found, text = text.partition(word)
        if not found:
            raise Unreadable
        pieces.append(before)
    return [*pieces, text]
