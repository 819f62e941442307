"""Tools over HTTP with the official client: its loop closes, whatever the model is, and arguments fit their schema."""

import json
from collections.abc import Iterator
from typing import Any

import chat_templates
import httpx
import jsonschema
import pytest
from openai import BadRequestError, OpenAI
from serving import Running, serving
from talking import connect
from tiny import make_model

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "How it is somewhere.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Rome", "Oslo"]},
                "days": {"type": "integer", "maximum": 9},
            },
            "required": ["city"],
        },
    },
}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
TOOLS = [WEATHER, NOW]
TURNS: list[Any] = [{"role": "user", "content": "How is it in Rome?"}]
NAMES = ["hermes", "llama", "mistral", "gemma", "harmony", "plain"]


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("callers")
    for name in NAMES:
        tokenizer = chat_templates.make_knowing_tokenizer()
        tokenizer.chat_template = chat_templates.ALL[name]
        ends = tokenizer.convert_tokens_to_ids(
            ["</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|call|>"]
        )
        make_model(root / name, "llama", tokenizer=tokenizer, num_hidden_layers=1, eos_token_id=ends)
    with serving(root, rate_limit="", default_model="sorter") as running:
        yield running


@pytest.fixture
def official(callers: Running) -> Iterator[OpenAI]:
    with connect(callers) as client:
        yield client


def ask(client: OpenAI, model: str, turns: list[Any] = TURNS, **options: Any) -> Any:
    options = {"tools": TOOLS, "max_tokens": 400, "seed": 1, **options}
    return client.chat.completions.create(model=model, messages=turns, **options)


def check_call(call: Any) -> dict[str, Any]:
    arguments = json.loads(call.function.arguments)
    schema = next(
        tool["function"].get("parameters", {})
        for tool in TOOLS
        if tool["function"]["name"] == call.function.name
    )
    jsonschema.validate(arguments, schema)
    assert call.type == "function"
    assert len(call.id) >= 9
    return arguments


@pytest.mark.parametrize("model", NAMES)
def test_a_loop_closes(official: OpenAI, model: str) -> None:
    """A call that must be made, its result sent back, and an answer: as agents do, with a model that knows nothing."""
    made = ask(official, model, tool_choice="required")
    choice = made.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    turns = [*TURNS, choice.message.model_dump(exclude_none=True)]
    for call in choice.message.tool_calls:
        check_call(call)
        turns.append({"role": "tool", "tool_call_id": call.id, "content": '{"sun": true}'})
    if len(choice.message.tool_calls) > 1 and model == "llama":
        raise AssertionError("its template knows one call at a time")
    answer = ask(
        official, model, turns, tool_choice="none", max_tokens=4, tools=None if model == "tales" else TOOLS
    )
    assert answer.choices[0].message.tool_calls is None
    assert answer.usage.prompt_tokens > 0


@pytest.mark.parametrize("model", ["hermes", "mistral", "gemma", "harmony"])
def test_a_stream_is_the_whole_call(official: OpenAI, model: str) -> None:
    """Index, id and name first, then the arguments in pieces, as the client's own accumulator wants them."""
    several = {"parallel_tool_calls": True} if model == "mistral" else {}
    options: dict[str, Any] = {"tool_choice": "required", "seed": 1, **several}
    whole = ask(official, model, **options).choices[0]
    chunks = list(ask(official, model, **options, stream=True))
    calls: list[dict[str, Any]] = []
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or []:
            if delta.id:
                assert delta.index == len(calls)
                assert (delta.type, delta.function.arguments) == ("function", "")
                calls.append({"name": delta.function.name, "arguments": ""})
            else:
                calls[delta.index]["arguments"] += delta.function.arguments
    assert calls == [
        {"name": call.function.name, "arguments": call.function.arguments}
        for call in whole.message.tool_calls
    ]
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason == "tool_calls"
    with official.chat.completions.stream(
        model=model, messages=TURNS, tools=TOOLS, max_tokens=400, **options
    ) as stream:
        final = stream.get_final_completion().choices[0]
    assert [one.function.arguments for one in final.message.tool_calls] == [one["arguments"] for one in calls]


@pytest.mark.parametrize("model", ["hermes", "mistral", "harmony"])
def test_which_tool_and_how_many(official: OpenAI, model: str) -> None:
    named = {"type": "function", "function": {"name": "now"}}
    allowed: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    for choice in (named, allowed):
        message = ask(official, model, tool_choice=choice).choices[0].message
        assert {call.function.name for call in message.tool_calls} == {"now"}
    assert len(ask(official, model, tool_choice=named, seed=4).choices[0].message.tool_calls) == 1
    for options in ({}, {"parallel_tool_calls": False}):
        made = ask(official, model, tool_choice="required", seed=2, **options)
        assert len(made.choices[0].message.tool_calls) == 1


def test_tools_cost_nothing_where_none_may_be_called(official: OpenAI) -> None:
    """Neither told nor held."""
    plain = ask(official, "mistral", tools=None, max_tokens=10)
    for options in (
        {"tools": TOOLS, "tool_choice": "none"},
        {"tools": []},
        {"tools": [], "tool_choice": "auto"},
    ):
        found = ask(official, "mistral", max_tokens=10, **options)
        assert (found.choices, found.usage) == (plain.choices, plain.usage)


def test_text_where_the_model_likes_it(official: OpenAI, callers: Running) -> None:
    """With the choice left to it a random model writes text; pushed to open a call it is held to one."""
    free = ask(official, "mistral", max_tokens=10)
    assert free.choices[0].message.content
    assert free.choices[0].finish_reason == "length"
    tokenizer = callers.services.registry.load("mistral").result(timeout=30).tokenizer
    opening = tokenizer.convert_tokens_to_ids("[TOOL_CALLS]")
    pushed = ask(official, "mistral", logit_bias={str(opening): 100}, max_tokens=600).choices[0]
    assert pushed.finish_reason == "tool_calls"
    assert pushed.message.content is None
    for call in pushed.message.tool_calls:
        check_call(call)
        assert len(call.id) == 9


def test_a_call_that_is_cut_off(official: OpenAI) -> None:
    """It can be sent back all the same."""
    choice = ask(official, "hermes", tool_choice="required", max_tokens=40, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "length"
    (call,) = choice.message.tool_calls
    with pytest.raises(ValueError, match=r"."):
        json.loads(call.function.arguments)
    turns = [*TURNS, choice.message.model_dump(exclude_none=True), *TURNS]
    assert ask(official, "hermes", turns, max_tokens=2).choices


def test_an_answer_by_a_schema_beside_tools(official: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [7]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    found = set()
    for seed in range(6):
        choice = ask(official, "hermes", response_format=form, seed=seed, tools=[NOW]).choices[0]
        if choice.message.tool_calls:
            assert choice.finish_reason == "tool_calls"
            found.add("call")
        else:
            assert json.loads(choice.message.content) == {"a": 7}
            found.add("text")
    assert found == {"call", "text"}


# --- what cannot be done -------------------------------------------------------------------------------------------


def tool(**schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object", **schema}}}


IN_F = "tools.0.function.parameters"
IMPOSSIBLE: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": [{"type": "web_search"}]}, "tools.0", "'web_search' are not supported"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function", "needs a name"),
    ({"tools": [{"type": "function", "function": {"name": 'a"b'}}]}, "tools.0.function.name", "letters"),
    ({"tools": "x"}, "tools", "list"),
    ({"tools": [NOW, NOW]}, "tools", "Two tools"),
    ({"tools": [NOW] * 129}, "tools", "At most 128"),
    ({"tool_choice": "sometimes"}, "tool_choice", "none, auto"),
    ({"tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice", "'nope'"),
    ({"tools": [], "tool_choice": "required"}, "tool_choice", "needs tools"),
    (
        {"tools": [{**tool(), "function": {"name": "f", "parameters": {"type": "string"}}}]},
        IN_F,
        "of an object",
    ),
    (
        {"tools": [tool(properties={"a": {"type": "integer", "minimum": 5, "maximum": 3}}, required=["a"])]},
        f"{IN_F}.properties.a",
        "minimum (5) is greater than maximum (3)",
    ),
    (
        {"tools": [NOW, tool(properties={"a": {"type": "array", "items": {"not": {}}}})]},
        "tools.1.function.parameters.properties.a.items.not",
        "not is not supported",
    ),
    ({"tools": [tool(properties={"a": {"$ref": "#/$defs/nope"}})]}, f"{IN_F}.properties.a", "does not exist"),
    (
        {"tools": [tool(properties={"a": {"type": "string", "pattern": "("}})]},
        f"{IN_F}.properties.a",
        "unclosed group",
    ),
    ({"tools": [NOW], "extra_body": {"guided_regex": "x"}}, "tools", "only a JSON schema"),
]


@pytest.mark.parametrize(("options", "param", "sentence"), IMPOSSIBLE)
def test_what_is_refused_is_named_with_its_path(
    official: OpenAI, options: dict[str, Any], param: str, sentence: str
) -> None:
    for stream in (False, True):
        with pytest.raises(BadRequestError) as refused:
            ask(official, "hermes", stream=stream, max_tokens=5, **options)
        assert refused.value.param == param
        assert sentence in refused.value.message


def test_a_completion_has_no_tools(callers: Running) -> None:
    with callers.client() as client:
        answer: httpx.Response = client.post(
            "/v1/completions", json={"model": "hermes", "prompt": "x", "tools": TOOLS}
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "tools"
