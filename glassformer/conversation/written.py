"""An answer taken apart while it is written: reasoning, text, and calls with their arguments piece by piece.

A state machine over marked text, in which control tokens are marked. Nothing is passed on before it is certain what it
belongs to; joined, the pieces are the answer without its marks. What looks like a call and is none stays text.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glassformer.conversation.answer_form import AnswerForm
from glassformer.conversation.call_format import Pairs, Slot
from glassformer.conversation.call_grammar import Tool, is_plain_text, shared_prefix
from glassformer.conversation.marked import CLOSE, MARKED, OPEN

LETTERS = string.ascii_letters + string.digits
# As some templates insist on.
ID_LENGTH = 9


def make_call_id() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(ID_LENGTH))


@dataclass(frozen=True, slots=True)
class Said:
    """What became certain: text, reasoning, that call number `call` has begun, or more of its arguments' JSON."""

    kind: Literal["text", "reasoning", "call", "arguments"]
    text: str = ""
    call: int = 0


@dataclass
class Call:
    """A call as far as it has been written. `is_whole` once its arguments are."""

    id: str
    name: str
    arguments: str = ""
    is_whole: bool = False


@dataclass
class AnswerReader:
    """Takes one answer apart. `is_reasoning` says that the prompt has opened the reasoning."""

    form: AnswerForm
    tools: Mapping[str, Tool]
    is_reasoning: bool = False
    calls: list[Call] = field(default_factory=list)
    # What has not been passed on yet.
    rest: str = ""

    def __post_init__(self) -> None:
        self._has_said = self._has_thought = self._after_reasoning = False
        # Of the call that is being read: the part that comes next, the slots before it, how deep in its JSON.
        self._place = 0
        self._slots: dict[Slot, str] = {}
        self._depth = Depth()
        self._state: Callable[[], list[Said] | None] = self._read_text
        if self.is_reasoning:
            self._state = self._read_reasoning
        elif self.form.text_open:
            self._state = self._skip

    def add(self, text: str, *, control: str | None = None) -> list[Said]:
        """What became certain with `text`, or with a control token of that name after it."""
        self.rest += text.replace(OPEN, "").replace(CLOSE, "")
        if control is not None:
            self.rest += f"{OPEN}{control}{CLOSE}"
        return self._advance()

    def finish(self) -> list[Said]:
        """What was held back when the answer ended."""
        said = self._advance()
        rest, self.rest = strip_controls(self.rest), ""
        if self._state in (self._read_text, self._read_reasoning):
            kind: Literal["text", "reasoning"] = "reasoning" if self.is_reasoning else "text"
            is_white = not rest.strip() and (bool(self.calls) or kind == "reasoning")
            return said if not rest or is_white else [*said, Said(kind, rest)]
        if self._state == self._read_json and rest:
            return [*said, *self._pass_arguments(rest)]
        return said

    def _advance(self) -> list[Said]:
        said: list[Said] = []
        while (found := self._state()) is not None:
            said += found
        return said

    # --- states: each gives what became certain and leaves `rest` behind it, or None where more must come -------------

    def _skip(self) -> list[Said] | None:
        """Between channels: nothing that is said to anybody."""
        return self._find({}, self._markers(), keep=False)

    def _read_text(self) -> list[Said] | None:
        return self._find({"kind": "text"}, self._markers(), keep=True)

    def _markers(self) -> dict[str, Callable[[], None]]:
        markers: dict[str, Callable[[], None]] = {}
        if self.form.reasoning is not None:
            markers[self.form.reasoning.open] = self._open_reasoning
        if self.form.text_open:
            markers[self.form.text_open] = self._open_text
        calls = self.form.calls
        if self.tools and not (calls.comes_first and (self._has_said or self.calls)):
            markers[calls.head.lstrip()] = self._open_calls
        return markers

    def _find(
        self, kind: dict[str, Any], markers: dict[str, Callable[[], None]], *, keep: bool
    ) -> list[Said] | None:
        """Pass on what stands before the first marker, and go on behind it."""
        places = [(self.rest.find(marker), -len(marker), marker) for marker in markers if marker in self.rest]
        if self.form.calls.comes_first and places and self.form.calls.head.lstrip() in markers:
            head = self.form.calls.head.lstrip()
            places = [place for place in places if place[2] != head or not self.rest[: place[0]].strip()]
        if places:
            start, _, marker = min(places)
            before, self.rest = self.rest[:start], self.rest[start + len(marker) :]
            markers[marker]()
            # White space between text and what follows belongs to neither.
            text = self._begin(strip_controls(before).rstrip()) if keep else ""
            self._has_said |= bool(text)
            return [Said("text", text)] if text else []
        held = max((overlap(self.rest, marker) for marker in markers), default=0)
        certain = untorn(self.rest[: len(self.rest) - held])
        stripped = certain.rstrip()
        text = strip_controls(stripped)
        if not keep:
            self.rest = self.rest[len(certain) :]
            return None
        text = self._begin(text)
        if not text:
            return None
        self.rest = self.rest[len(stripped) :]
        self._has_said = True
        return [Said("text", text)]

    def _begin(self, text: str) -> str:
        """The text, without the line breaks that part it from the reasoning before it."""
        return text.lstrip("\n") if self._after_reasoning and not self._has_said else text

    def _read_reasoning(self) -> list[Said] | None:
        marks = self.form.reasoning
        assert marks is not None
        start = self.rest.find(marks.close)
        if start >= 0:
            before, self.rest = self.rest[:start], self.rest[start + len(marks.close) :]
            self.is_reasoning, self._after_reasoning = False, True
            self._state = self._skip if self.form.text_open else self._read_text
            text = self._trim(strip_controls(before).rstrip())
            return [Said("reasoning", text)] if text else []
        certain = untorn(self.rest[: len(self.rest) - overlap(self.rest, marks.close)])
        stripped = certain.rstrip()
        text = self._trim(strip_controls(stripped))
        if not text:
            return None
        self.rest = self.rest[len(stripped) :]
        self._has_thought = True
        return [Said("reasoning", text)]

    def _trim(self, text: str) -> str:
        return text if self._has_thought else text.lstrip("\n")

    def _open_reasoning(self) -> None:
        self.is_reasoning = True
        self._state = self._read_reasoning

    def _open_text(self) -> None:
        self._state = self._read_text

    def _open_calls(self) -> None:
        self._place, self._slots = 0, {}
        self._state = self._read_part

    def _read_part(self) -> list[Said] | None:
        """One part of a call after the other."""
        calls = self.form.calls
        if self._place == len(calls.parts):
            return self._end_call()
        part = calls.parts[self._place]
        if not isinstance(part, Slot):
            if len(self.rest) < len(part):
                return None
            if not self.rest.startswith(part):
                return self._fail()
            self.rest = self.rest[len(part) :]
            self._place += 1
            return []
        if part == Slot.ARGUMENTS:
            if Slot.NAME not in self._slots:
                return self._fail()
            said = self._open_call()
            self._depth = Depth()
            self._state = self._read_pairs if isinstance(calls.style, Pairs) else self._read_json
            return said
        following = self._following()
        end = self.rest.find(following) if following else len(self.rest)
        if end < 0 or (part == Slot.ID and end < ID_LENGTH and not following):
            return None
        value = self.rest[:end]
        self.rest = self.rest[end:]
        self._slots[part] = value
        if part == Slot.ID and self.calls and Slot.ARGUMENTS in calls.parts[: self._place]:
            self.calls[-1].id = value
        self._place += 1
        return []

    def _following(self) -> str:
        """The literal after the slot that is being read."""
        calls = self.form.calls
        if self._place + 1 < len(calls.parts):
            following = calls.parts[self._place + 1]
            return following if not isinstance(following, Slot) else ""
        shared = calls.tail if calls.between is None else shared_prefix(calls.between, calls.tail)
        return shared or calls.tail or calls.between or ""

    def _open_call(self) -> list[Said]:
        self.calls.append(Call(self._slots.get(Slot.ID) or make_call_id(), self._slots[Slot.NAME]))
        return [Said("call", call=len(self.calls) - 1)]

    def _pass_arguments(self, text: str) -> list[Said]:
        self.calls[-1].arguments += text
        return [Said("arguments", text, len(self.calls) - 1)]

    def _read_json(self) -> list[Said] | None:
        if not self.rest:
            return None
        end = self._depth.find_end(self.rest)
        if end is None:
            if OPEN in self.rest:
                return self._fail()
            certain, self.rest = self.rest, ""
            self._depth.go_on(certain)
            return self._pass_arguments(certain)
        text, self.rest = self.rest[:end], self.rest[end:]
        self._place += 1
        self.calls[-1].is_whole = True
        self._state = self._read_part
        return self._pass_arguments(text)

    def _read_pairs(self) -> list[Said] | None:
        """Arguments that are not JSON become it, once they are whole."""
        following = self._following()
        style = self.form.calls.style
        assert isinstance(style, Pairs)
        tool = self.tools.get(self.calls[-1].name)
        found = read_pairs(self.rest, style, tool.parameters if tool else {}, following)
        if found is None:
            return None
        arguments, end = found
        self.rest = self.rest[end:]
        self._place += 1
        self.calls[-1].is_whole = True
        self._state = self._read_part
        return self._pass_arguments(json.dumps(arguments, ensure_ascii=False))

    def _end_call(self) -> list[Said] | None:
        calls = self.form.calls
        between, tail = calls.between, calls.tail
        if between is not None and self.rest.startswith(between):
            self.rest = self.rest[len(between) :]
            self._place, self._slots = 0, {}
            return []
        if between is not None and between.startswith(self.rest):
            return None  # more may come
        if self.rest.startswith(tail) and tail:
            self.rest = self.rest[len(tail) :]
            self._state = self._read_text
            return []
        if tail and tail.startswith(self.rest):
            return None
        self._state = self._read_text
        return []

    def _fail(self) -> list[Said]:
        """It was no call after all."""
        self._state = self._read_text
        return []


@dataclass
class Depth:
    """Where a JSON object ends that is read in pieces."""

    depth: int = 0
    in_text: bool = False
    is_escaped: bool = False

    def find_end(self, text: str) -> int | None:
        """The place behind the object's last brace, which leaves this unchanged where there is none."""
        state = Depth(self.depth, self.in_text, self.is_escaped)
        for place, character in enumerate(text):
            if state.step(character):
                return place + 1
        return None

    def go_on(self, text: str) -> None:
        for character in text:
            self.step(character)

    def step(self, character: str) -> bool:
        """Whether the object ends with `character`."""
        if self.in_text:
            if self.is_escaped:
                self.is_escaped = False
            elif character == "\\":
                self.is_escaped = True
            elif character == '"':
                self.in_text = False
        elif character == '"':
            self.in_text = True
        elif character in "{[":
            self.depth += 1
        elif character in "}]":
            self.depth -= 1
            return self.depth == 0
        return False


def read_pairs(
    text: str, style: Pairs, schema: Mapping[str, Any], following: str
) -> tuple[dict[str, Any], int] | None:
    """The arguments that `text` begins with, and where they end; None where they are not whole yet."""
    found: dict[str, Any] = {}
    properties = schema.get("properties") or {}
    if following and text.startswith(following):
        return found, 0
    if not text.startswith(style.open):
        return None
    at = len(style.open)
    while True:
        for key in sorted(properties, key=len, reverse=True):
            is_text = is_plain_text(properties[key])
            middle, between, close = (style.middle, style.between, style.close) if is_text else style.plain
            if text.startswith(f"{key}{middle}", at):
                break
        else:
            return None
        at += len(key) + len(middle)
        value = read_value(text, at, [between, close + following], is_text=is_text)
        if value is None:
            return None
        found[key], at, ended_by = value
        if ended_by == 1:
            return found, at - len(following)


def read_value(text: str, start: int, ends: list[str], *, is_text: bool) -> tuple[Any, int, int] | None:
    """A value, where what ends it ends, and which of `ends` that is; None where it is not whole yet."""
    at = start
    while True:
        places = [
            (text.find(end, at), -len(end), number) for number, end in enumerate(ends) if end in text[at:]
        ]
        if not places:
            return None
        place, length, number = min(places)
        value = text[start:place]
        if is_text:
            return value, place - length, number
        try:
            return json.loads(value), place - length, number
        except ValueError:  # a text inside holds what ends it
            at = place + 1


def strip_controls(marked: str) -> str:
    """The text without its control tokens, which are no part of what is said."""
    return MARKED.sub("", marked).replace(OPEN, "").replace(CLOSE, "")


def untorn(marked: str) -> str:
    """The text up to where the name of a control token begins that is not whole."""
    torn = marked.rfind(OPEN)
    return marked[:torn] if torn > marked.rfind(CLOSE) else marked


def overlap(text: str, marker: str) -> int:
    """The length of the longest end of `text` that `marker` begins with."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
