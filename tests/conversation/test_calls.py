"""Calls of tools in every form that templates write them: read off, held to, and taken apart again."""

import json
import random
from collections.abc import Sequence
from typing import Any

import chat_templates
import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from transformers import PreTrainedTokenizerFast

from glassformer.conversation.answer_form import AnswerForm, Reasoning, read_answer_form
from glassformer.conversation.call_format import DEFAULT, Pairs
from glassformer.conversation.call_grammar import MOST_CALLS, Tool, Unheld, Vocabulary, write_call_grammar
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import CLOSE, OPEN, unmark
from glassformer.conversation.template import ChatTemplate
from glassformer.conversation.written import AnswerReader, Said

WEATHER = Tool(
    "weather",
    "How it is somewhere.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Rome", "Oslo, at night", 'a "quoted" place', "</p>"]},
            "days": {"type": "integer", "minimum": 0, "maximum": 99},
            "exact": {"type": "boolean"},
            "note": {"type": "string", "maxLength": 8},
            "place": {
                "type": "object",
                "properties": {"at": {"type": "array", "items": {"enum": [1.5, None, ","]}, "maxItems": 2}},
                "required": ["at"],
            },
        },
        "required": ["city", "days"],
    },
)
NOW = Tool("time.now", "", {"type": "object", "properties": {}})
TOOLS = {tool.name: tool for tool in (WEATHER, NOW)}


def read_form(tokenizer: PreTrainedTokenizerFast, name: str) -> AnswerForm:
    tokenizer.chat_template = chat_templates.ALL[name]
    return read_answer_form(ChatTemplate(tokenizer), chat_templates.ENDS)


def control(name: str) -> str:
    return f"{OPEN}{name}{CLOSE}"


# --- reading the form off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "tail", "several", "comes_first"),
    [
        ("hermes", '<tool_call>\n{"name": "', "}\n</tool_call>", True, False),
        ("llama", '{"name": "', "}", False, True),
        ("python_tag", control("<|python_tag|>") + '{"name": "', "}", False, False),
        ("mistral", control("[TOOL_CALLS]") + ' [{"name": "', '"}]', True, False),
        ("mistral_args", control("[TOOL_CALLS]"), "", True, False),
        (
            "gemma",
            control("<start_function_call>") + "call:",
            "}" + control("<end_function_call>"),
            True,
            False,
        ),
        ("xml", "\n<tool_call>\n<function=", "/function>\n</tool_call>", True, False),
        ("harmony", " to=functions.", "", False, False),
        (
            "deepseek",
            f"{control('<|tool_calls_begin|>')}{control('<|tool_call_begin|>')}function{control('<|tool_sep|>')}",
            f"\n```{control('<|tool_call_end|>')}{control('<|tool_calls_end|>')}",
            True,
            False,
        ),
    ],
)
def test_a_format_is_read_off_the_template(
    knowing: PreTrainedTokenizerFast, name: str, head: str, tail: str, several: bool, comes_first: bool
) -> None:
    found = read_form(knowing, name).calls
    assert found.is_native
    assert (found.head, found.tail) == (head, tail)
    assert (found.between is not None, found.comes_first) == (several, comes_first)
    assert isinstance(found.style, Pairs) == (name in ("gemma", "xml"))
    assert found.takes_text == (name == "deepseek")
    assert found.tells_tools == (name != "deepseek")
    assert found.tells_results


def test_a_template_without_tools_gets_the_default(knowing: PreTrainedTokenizerFast) -> None:
    assert read_form(knowing, "plain").calls == DEFAULT


@pytest.mark.parametrize("name", chat_templates.ALL)
def test_what_marks_reasoning(knowing: PreTrainedTokenizerFast, name: str) -> None:
    form = read_form(knowing, name)
    if name == "harmony":
        analysis = f"{control('<|channel|>')}analysis{control('<|message|>')}"
        assert form.reasoning == Reasoning(analysis, f"{control('<|end|>')}{control('<|start|>')}assistant")
        assert form.text_open == f"{control('<|channel|>')}final{control('<|message|>')}"
    else:
        thinks = name in ("hermes", "deepseek")
        assert form.reasoning == (Reasoning("<think>", "</think>") if thinks else None)
        assert form.text_open == ""


# --- writing and reading -------------------------------------------------------------------------------------------


class Machine:
    """A vocabulary, and answers drawn by chance from what a grammar allows."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.end_ids = tokenizer.convert_tokens_to_ids(chat_templates.ENDS)
        self.tokens = LLTokenizer(tokenizer.backend_tokenizer.to_str(), eos_token=self.end_ids)
        self.special = set(tokenizer.convert_tokens_to_ids(chat_templates.SPECIAL))
        names = {tokenizer.convert_ids_to_tokens(at): at for at in tokenizer.added_tokens_decoder}
        self.vocabulary = Vocabulary(
            {name: at for name, at in names.items() if self.tokens.is_special_token(at)}, self.end_ids
        )

    def draw(self, grammar: str, seed: int, begun: str = "") -> list[int]:
        matcher = LLMatcher(self.tokens, LLMatcher.grammar_from_lark(grammar), log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        chance, ids = random.Random(seed), self.tokenizer(begun, add_special_tokens=False)["input_ids"]
        assert matcher.consume_tokens(ids), matcher.get_error()
        while len(ids) < 2000:
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            allowed = np.nonzero(bits[: len(self.tokenizer)])[0].tolist()
            ends = [token_id for token_id in allowed if token_id in self.end_ids]
            if ends and (len(ends) == len(allowed) or chance.random() < 0.4):
                return ids
            ids.append(chance.choice([token_id for token_id in allowed if token_id not in self.end_ids]))
            assert matcher.consume_token(ids[-1])
        raise AssertionError(f"no end after {self.tokenizer.decode(ids)!r}")

    def read(self, form: AnswerForm, ids: Sequence[int], **options: Any) -> tuple[AnswerReader, list[Said]]:
        """The answer taken apart token by token, halves of characters held back as a detokenizer does."""
        reader, said, raw = AnswerReader(form, TOOLS, **options), [], b""
        for token_id in ids:
            if token_id in self.special:
                said += reader.add("", control=self.tokenizer.convert_ids_to_tokens(token_id))
                continue
            raw += bytes(self.tokens.decode_bytes([token_id]))
            try:
                text, raw = raw.decode(), b""
            except UnicodeDecodeError:
                continue
            said += reader.add(text.removeprefix("\ufdd0"))
        return reader, [*said, *reader.finish()]


@pytest.fixture(scope="module")
def machine(knowing: PreTrainedTokenizerFast) -> Machine:
    return Machine(knowing)


def check_calls(reader: AnswerReader, said: list[Said]) -> None:
    assert reader.calls
    for at, call in enumerate(reader.calls):
        assert call.is_whole
        assert len(call.id) == 9
        assert call.arguments == "".join(
            one.text for one in said if one.kind == "arguments" and one.call == at
        )
        jsonschema.validate(json.loads(call.arguments), TOOLS[call.name].parameters)
        assert not set(json.loads(call.arguments)) - set(TOOLS[call.name].parameters["properties"])


@pytest.mark.parametrize("name", chat_templates.ALL)
def test_a_call_that_must_be_made(machine: Machine, name: str) -> None:
    """Whatever a model wants, it is a call of a tool that was offered, which fits its schema, and nothing else."""
    form = read_form(machine.tokenizer, name)
    grammar = write_call_grammar(form, [*TOOLS.values()], machine.vocabulary, required=True, several=True)
    counts, called = set(), set()
    for seed in range(12):
        reader, said = machine.read(form, machine.draw(grammar, seed))
        check_calls(reader, said)
        assert not [one for one in said if one.kind in ("text", "reasoning")]
        counts.add(len(reader.calls))
        called |= {call.name for call in reader.calls}
    assert called == set(TOOLS)
    assert max(counts) <= (MOST_CALLS if form.calls.between else 1)
    assert (len(counts) > 1) == (form.calls.between is not None)
    alone = write_call_grammar(form, [NOW], machine.vocabulary, required=True, several=False)
    reader, _ = machine.read(form, machine.draw(alone, 1))
    assert [call.name for call in reader.calls] == ["time.now"]


@pytest.mark.parametrize("name", chat_templates.ALL)
def test_text_or_a_call(machine: Machine, name: str) -> None:
    """Text stays text; from where a call opens it is held."""
    form = read_form(machine.tokenizer, name)
    grammar = write_call_grammar(form, [*TOOLS.values()], machine.vocabulary, required=False, several=True)
    opening = unmark(form.text_open)
    for text in ("Let me see.", 'It is {"name": 5} <b>', "a <tool", "{ x", ""):
        ids = machine.tokenizer(opening + text, add_special_tokens=False)["input_ids"]
        matcher = LLMatcher(machine.tokens, LLMatcher.grammar_from_lark(grammar), log_level=0)
        assert matcher.consume_tokens(ids), text
        assert matcher.is_accepting()
        reader, said = machine.read(form, ids)
        assert not reader.calls
        assert "".join(one.text for one in said if one.kind == "text") == text
    before = "" if form.calls.comes_first else f"{opening}Let me see. "
    for seed in range(6):
        reader, said = machine.read(
            form, machine.draw(grammar, seed, before + unmark(form.calls.head.lstrip()))
        )
        check_calls(reader, said)
        assert "".join(one.text for one in said if one.kind == "text") == ("Let me see." if before else "")


@pytest.mark.parametrize("name", ["hermes", "deepseek", "harmony"])
def test_reasoning_before_text_and_before_calls(machine: Machine, name: str) -> None:
    form = read_form(machine.tokenizer, name)
    assert form.reasoning is not None
    marks = [unmark(mark) for mark in (form.reasoning.open, form.reasoning.close)]
    grammar = write_call_grammar(form, [WEATHER], machine.vocabulary, required=False, several=True)
    thought = f"{marks[0]}\nHm, <b>\n\nhm.\n{marks[1]}"
    head = unmark(form.calls.head)
    for begun, is_open in ((thought, False), (thought.removeprefix(marks[0]), True)):
        ids = machine.tokenizer(f"{begun}\n\n{unmark(form.text_open)}It is\nso.\n", add_special_tokens=False)
        reader, said = machine.read(form, ids["input_ids"], is_reasoning=is_open)
        assert "".join(one.text for one in said if one.kind == "reasoning") == "Hm, <b>\n\nhm."
        assert "".join(one.text for one in said if one.kind == "text").rstrip("\n") == "It is\nso."
        options = {"required": True, "several": False, "is_reasoning": is_open}
        must = write_call_grammar(form, [WEATHER], machine.vocabulary, **options)
        for used in (grammar, *([must] if is_open else [])):
            text = begun + head if is_open or used == grammar else head
            reader, said = machine.read(form, machine.draw(used, 3, text), is_reasoning=is_open)
            check_calls(reader, said)
            assert "".join(one.text for one in said if one.kind == "reasoning") == "Hm, <b>\n\nhm."


def test_a_call_that_is_cut_off(machine: Machine) -> None:
    form = read_form(machine.tokenizer, "hermes")
    text = '<tool_call>\n{"name": "weather", "arguments": {"city": "Ro'
    reader, said = machine.read(form, machine.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert (reader.calls[0].name, reader.calls[0].arguments) == ("weather", '{"city": "Ro')
    assert not reader.calls[0].is_whole
    assert not [one for one in said if one.kind == "text"]


def test_an_answer_that_is_held_to_a_schema_or_calls(machine: Machine) -> None:
    form = read_form(machine.tokenizer, "hermes")
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [7]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    options: dict[str, Any] = {"required": False, "several": False, "text_schema": schema}
    grammar = write_call_grammar(form, [NOW], machine.vocabulary, **options)
    texts = {machine.tokenizer.decode(machine.draw(grammar, seed)).strip() for seed in range(20)}
    assert any(text.startswith("<tool_call>") for text in texts)
    assert {json.dumps(json.loads(text)) for text in texts if not text.startswith("<")} == {'{"a": 7}'}


def test_schemas_that_pairs_cannot_hold(knowing: PreTrainedTokenizerFast, machine: Machine) -> None:
    form = read_form(knowing, "xml")
    for parameters, path in (
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}, "properties.a.pattern"),
        ({"anyOf": []}, "anyOf"),
    ):
        with pytest.raises(Unheld) as refused:
            write_call_grammar(
                form, [Tool("f", "", parameters)], machine.vocabulary, required=True, several=False
            )
        assert refused.value.path == path


@pytest.mark.parametrize("name", chat_templates.ALL)
def test_a_call_rendered_is_the_call_read(machine: Machine, name: str) -> None:
    """What the template makes of a call in the past is what the model writes for it."""
    form = read_form(machine.tokenizer, name)
    if not form.calls.is_native:
        return
    template = ChatTemplate(machine.tokenizer)
    arguments = {"city": "Rome", "days": 3}
    given = json.dumps(arguments) if form.calls.takes_text else arguments
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": given}}
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    text = template.render(Conversation(turns, [WEATHER.as_template()], prompts=False))
    prompt = template.render(Conversation(turns[:1], [WEATHER.as_template()]))
    written = text[text.index(unmark(form.calls.head).lstrip(), len(prompt) - 20) :]
    for end in chat_templates.ENDS:
        written = written.partition(end)[0]
    opening = " " if name == "harmony" else ""
    reader, _ = machine.read(
        form, machine.tokenizer(opening + written, add_special_tokens=False)["input_ids"]
    )
    assert [(one.name, json.loads(one.arguments)) for one in reader.calls] == [("weather", arguments)]
