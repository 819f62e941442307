"""The grammar of an answer that may call tools, in llguidance's form of Lark. Text alone: nothing is compiled here.

With a choice left to the model anything may be written, until what opens a call appears: from there on it is the call
of a tool that was offered, with arguments that fit its schema, as the model's own template writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glassformer.conversation.answer_form import AnswerForm
from glassformer.conversation.call_format import Pairs, Slot, count_shared
from glassformer.conversation.json_schema import close_objects, prepare_schema
from glassformer.conversation.marked import CLOSE, OPEN, compile_names, unmark
from glassformer.protocol.messages import Constraint

# Calls of one answer, where several are allowed: without a bound a small model may go on for ever.
MOST_CALLS = 8
ANYTHING = r"/(.|\n)*/"
SPACE = r"/[ \t\n\r]{0,8}/"
# Between the parts of arguments: a small model would fill up more of it.
WHITE_SPACE = r"[ \n]{0,2}"
# Of texts that stand without quotation marks, which llguidance's schemas cannot hold: these are held by their pattern.
FORMATS = {
    "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "time": r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    "date-time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
PLAIN_TEXT = frozenset("type description title default examples enum const maxLength minLength".split())


@dataclass(frozen=True)
class Tool:
    """A function that may be called. `parameters` is the JSON schema of its arguments, an object's."""

    name: str
    description: str
    parameters: dict[str, Any]

    def as_template(self) -> dict[str, Any]:
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


class Unheld(Exception):
    """A tool's schema that cannot be held in this model's form; `path` leads to the place inside it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason
        self.tool = ""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that grammars see whole, by name, and those that end a text."""

    names: Mapping[str, int]
    end_ids: Collection[int]


def write_call_grammar(
    form: AnswerForm,
    tools: Sequence[Tool],
    vocabulary: Vocabulary,
    *,
    required: bool,
    several: bool,
    text_schema: dict[str, Any] | None = None,
    is_reasoning: bool = False,
) -> str:
    """The grammar of an answer with these tools. Raises Unheld.

    `required` leaves no choice but to call, `several` allows more than one. `is_reasoning` says that the prompt has
    opened the model's reasoning, which then comes first; a call that must be made follows at once otherwise. Text
    beside calls fits `text_schema`, if there is one.
    """
    writer = Writer(form, vocabulary)
    writer.write_calls(tools, several=several and form.calls.between is not None)
    if required:
        writer.add("start", f"{writer.write_reasoning(is_reasoning)} {writer.literal(form.calls.head)} calls")
    elif text_schema is not None:
        writer.add("text", f"%json {write_schema(text_schema)}")
        writer.add(
            "start",
            f"{writer.write_reasoning(is_reasoning)} (text | {writer.literal(form.calls.head)} calls)",
        )
    else:
        writer.write_choice(is_reasoning)
    return writer.text


def write_held_grammar(form: AnswerForm, constraint: Constraint, vocabulary: Vocabulary) -> str:
    """The grammar of an answer whose text fits `constraint`, after the reasoning that the prompt has opened."""
    writer = Writer(form, vocabulary)
    if constraint.json_schema is not None:
        writer.add("text", f"%json {write_schema(constraint.json_schema)}")
    elif constraint.regex is not None:
        writer.add("text", f"/{escape_slashes(constraint.regex)}/")
    else:
        writer.add("text", " | ".join(quote(choice) for choice in constraint.choices or []))
    writer.add("start", f"{writer.write_reasoning(True)} text")
    return writer.text


def write_schema(schema: dict[str, Any]) -> str:
    options = {"whitespace_pattern": WHITE_SPACE}
    return json.dumps({"x-guidance": options, **prepare_schema(schema)}, allow_nan=False)


class Writer:
    """Rules as they come together."""

    def __init__(self, form: AnswerForm, vocabulary: Vocabulary) -> None:
        self.form = form
        self.vocabulary = vocabulary
        self.names = compile_names(vocabulary.names)
        self.rules: list[str] = ["%llguidance {}"]

    @property
    def text(self) -> str:
        return "\n".join(self.rules) + "\n"

    def add(self, name: str, body: str) -> None:
        self.rules.append(f"{name}: {body}")

    def literal(self, marked: str) -> str:
        """A text that must stand there, its control tokens by their ids."""
        atoms, text, end = [], unmark(marked), 0
        for match in self.names.finditer(text) if self.names else ():
            atoms.append(quote(text[end : match.start()]))
            atoms.append(f"<[{self.vocabulary.names[match[0]]}]>")
            end = match.end()
        atoms.append(quote(text[end:]))
        return " ".join(atom for atom in atoms if atom) or '""'

    def write_calls(self, tools: Sequence[Tool], *, several: bool) -> None:
        """The rule `calls`: everything after the head."""
        calls = self.form.calls
        for number, tool in enumerate(tools):
            try:
                self.add(f"call_{number}", self.write_call(number, tool))
            except Unheld as unheld:
                unheld.tool = tool.name
                raise
        self.add("call", " | ".join(f"call_{number}" for number in range(len(tools))))
        if not several or calls.between is None:
            self.add("calls", f"call {self.literal(calls.tail)}")
            return
        shared = shared_prefix(calls.between, calls.tail)
        close = self.literal(shared)
        again = f"({self.literal(calls.between[len(shared) :])} call {close}){{0,{MOST_CALLS - 1}}}"
        self.add("calls", f"call {close} {again} {self.literal(calls.tail[len(shared) :])}")

    def write_call(self, number: int, tool: Tool) -> str:
        atoms = []
        for part in self.form.calls.parts:
            if part == Slot.NAME:
                atoms.append(quote(tool.name))
            elif part == Slot.ID:
                atoms.append("/[a-zA-Z0-9]{9}/")
            elif part == Slot.ARGUMENTS:
                atoms.append(f"arguments_{number}")
            else:
                atoms.append(self.literal(part))
        style = self.form.calls.style
        if isinstance(style, Pairs):
            self.write_pairs(f"arguments_{number}", tool.parameters, style)
        else:
            self.add(f"arguments_{number}", f"%json {write_schema(close_objects(tool.parameters))}")
        return " ".join(atoms)

    def write_pairs(self, name: str, schema: dict[str, Any], pairs: Pairs) -> None:
        """The rule `name` of arguments as pairs, in the order of the schema. Raises Unheld."""
        unknown = set(schema) & {"anyOf", "oneOf", "allOf", "$ref", "patternProperties", "not", "if"}
        if unknown:
            raise Unheld(min(unknown), "cannot be held where arguments are written as pairs")
        required = set(schema.get("required") or [])
        properties = list((schema.get("properties") or {}).items())
        definitions: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        surroundings = {"text": (pairs.middle, pairs.between, pairs.close), "plain": pairs.plain}
        kinds = []
        for place, (key, value) in enumerate(properties):
            kind = "text" if is_plain_text(value) else "plain"
            kinds.append(kind)
            middle, between, close = surroundings[kind]
            # Whether another pair follows is not known where a value ends; what begins both ways belongs to the value.
            shared = shared_prefix(between, close)
            self.write_value(f"{name}_value_{place}", value, definitions, shared, path=f"properties.{key}")
            self.add(f"{name}_pair_{place}", f"{quote(key)} {self.literal(middle)} {name}_value_{place}")
        last = len(properties)
        for kind in sorted(set(kinds)):
            _, between, close = surroundings[kind]
            shared = shared_prefix(between, close)
            for place in range(last):
                pair = f"{name}_pair_{place} {name}_{kinds[place]}_{place + 1}"
                following = f"{self.literal(between[len(shared) :])} {pair}"
                skipped = "" if properties[place][0] in required else f" | {name}_{kind}_{place + 1}"
                self.add(f"{name}_{kind}_{place}", following + skipped)
            self.add(f"{name}_{kind}_{last}", self.literal(close[len(shared) :]))
        for place in range(last):
            first = f"{self.literal(pairs.open)} {name}_pair_{place} {name}_{kinds[place]}_{place + 1}"
            skipped = "" if properties[place][0] in required else f" | {name}_first_{place + 1}"
            self.add(f"{name}_first_{place}", first + skipped)
        self.add(f"{name}_first_{last}", '""')
        self.add(name, f"{name}_first_0")

    def write_value(
        self, rule: str, schema: dict[str, Any], definitions: dict[str, Any], end: str, *, path: str
    ) -> None:
        """A value and the `end` that follows any; a text ends where that appears first. Raises Unheld."""
        if not is_plain_text(schema):
            self.add(
                rule, f"%json {write_schema({**close_objects(schema), **definitions})} {self.literal(end)}"
            )
            return
        unknown = set(schema) - PLAIN_TEXT - {"format"}
        if unknown or schema.get("format") not in (None, *FORMATS):
            keyword = min(unknown) if unknown else "format"
            raise Unheld(f"{path}.{keyword}", "cannot be held for a text that stands without quotation marks")
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if choices is not None:
            options = " | ".join(quote(str(choice)) or '""' for choice in choices)
            self.add(rule, f"({options}) {self.literal(end)}")
            return
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        pattern = FORMATS.get(schema.get("format", ""), f"(.|\\n){{{least},{most}}}")
        if "format" not in schema and not least and most == "":
            pattern = r"(.|\n)*"
        if self.literal(end) == quote(end):
            self.add(f"{rule}[lazy]", f"/{pattern}/ {quote(end)}")
        else:  # a control token ends it, which no text holds
            self.add(rule, f"/{pattern}/ {self.literal(end)}")

    def write_reasoning(self, is_reasoning: bool) -> str:
        """The rule of the reasoning that the prompt has opened, as it is used; nothing where it has not."""
        marks = self.form.reasoning
        if marks is None or not is_reasoning:
            return ""
        close = self.literal(marks.close)
        whole = re.match(r"<\[(\d+)\]>", close)
        if whole:
            self.add("reasoning", f"{self.anything_but(int(whole[1]))} {close} {SPACE}")
        else:
            self.add("reasoning_end[lazy]", f"{ANYTHING} {quote(unmark(marks.close))}")
            self.add("reasoning", f"reasoning_end {SPACE}")
        return "reasoning"

    def anything_but(self, token_id: int) -> str:
        """Any tokens but that one and those that end a text."""
        excluded = ",".join(map(str, sorted({token_id, *self.vocabulary.end_ids})))
        return f"<[^{excluded}]>*"

    def write_choice(self, is_reasoning: bool) -> None:
        """The rule `start` of text or calls, as the model likes."""
        calls = self.form.calls
        trigger = calls.trigger
        rest = f"{self.literal(calls.head.lstrip()[len(trigger) :])} calls"
        whole = re.fullmatch(r"<\[(\d+)\]>", self.literal(trigger))
        if whole:
            self.add("start", f"{self.anything_but(int(whole[1]))} ({whole[0]} {rest})?")
            return
        others = sorted(set(self.vocabulary.names.values()) - set(self.vocabulary.end_ids))
        chunks = f"(TEXT <[{','.join(map(str, others))}]>)*" if others else ""
        self.add("TEXT", ANYTHING)
        if calls.comes_first:
            self.add("trigger[lazy]", f"{SPACE} {quote(unmark(trigger))}")
            self.add("start", f"{self.write_reasoning(is_reasoning)} ({chunks} TEXT | trigger {rest})")
        else:
            self.add("trigger[lazy]", f"TEXT {quote(unmark(trigger))}")
            self.add("start", f"{chunks} (TEXT | trigger {rest})")


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def escape_slashes(pattern: str) -> str:
    """The pattern with no slash in it that would end it where patterns stand between slashes."""
    return re.sub(r"\\.|/", lambda found: r"\/" if found[0] == "/" else found[0], pattern, flags=re.DOTALL)


def is_plain_text(schema: Any) -> bool:
    """Whether a value stands as it is, without quotation marks, where arguments are pairs."""
    return isinstance(schema, dict) and schema.get("type") == "string"


def shared_prefix(first: str, second: str) -> str:
    """What two marked texts begin with alike, no mark of it torn."""
    shared = first[: count_shared(first, second)]
    return shared if shared.count(OPEN) == shared.count(CLOSE) else shared[: shared.rindex(OPEN)]
