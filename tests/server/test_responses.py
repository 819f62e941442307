"""`/v1/responses` with the official client: whole, streamed, parsed, with tools, and going on from one another."""

import json
from collections.abc import Iterator
from typing import Any

import chat_templates
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel
from serving import Running, serving
from talking import connect
from tiny import make_model

QUESTION = "Who has the ball?"
NOW: dict[str, Any] = {"type": "function", "name": "now", "parameters": None, "strict": False}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def start(root: Any, **settings: Any) -> Any:
    for name in ("hermes", "harmony"):
        tokenizer = chat_templates.make_knowing_tokenizer()
        tokenizer.chat_template = chat_templates.ALL[name]
        ends = tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>", "<|call|>"])
        make_model(root / name, "llama", tokenizer=tokenizer, num_hidden_layers=1, eos_token_id=ends)
    usual = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "eos_token_id": ends}
    (root / "harmony" / "generation_config.json").write_text(json.dumps(usual))
    return serving(root, rate_limit="", default_model="sorter", **settings)


@pytest.fixture(scope="module")
def responding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start(tmp_path_factory.mktemp("responding"), max_responses=20) as running:
        yield running


@pytest.fixture
def official(responding: Running) -> Iterator[OpenAI]:
    with connect(responding) as client:
        yield client


def ask(client: OpenAI, given: Any = QUESTION, **options: Any) -> Any:
    options = {"model": "hermes", "max_output_tokens": 12, "temperature": 0, **options}
    return client.responses.create(input=given, **options)


def force(running: Running, text: str) -> dict[str, Any]:
    """Options with which a random model writes `text` and ends."""
    loaded = running.services.registry.load("hermes").result(timeout=30)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    rules = " ".join(f"<[{token_id}]>" for token_id in ids)
    return {
        "extra_body": {"guided_grammar": f"%llguidance {{}}\nstart: {rules}\n"},
        "max_output_tokens": len(ids) + 1,
    }


def test_it_says_what_a_chat_says(official: OpenAI) -> None:
    told = ask(official, instructions="Be brief.", metadata={"a": "b"})
    turns: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    chat = official.chat.completions.create(model="hermes", messages=turns, max_tokens=12, temperature=0)
    assert told.output_text == chat.choices[0].message.content
    assert (told.object, told.status) == ("response", "incomplete")
    assert told.incomplete_details.reason == "max_output_tokens"
    assert told.output[0].status == "incomplete"
    assert told.usage.input_tokens == chat.usage.prompt_tokens
    assert told.usage.output_tokens == 12
    assert told.usage.total_tokens == chat.usage.total_tokens
    assert (told.metadata, told.instructions) == ({"a": "b"}, "Be brief.")
    assert told.id.startswith("resp_")
    assert told.store is None or told.model_dump()["store"] is True


def test_it_tells_how_it_was_drawn(official: OpenAI) -> None:
    """As its makers have it, where nobody says otherwise."""
    for model, options, drawn in (
        ("hermes", {}, (1.0, 1.0)),
        ("harmony", {}, (0.6, 0.95)),
        ("harmony", {"temperature": 1}, (1.0, 0.95)),
        ("harmony", {"temperature": 0, "top_p": 0.5}, (0.0, 0.5)),
    ):
        given: dict[str, Any] = {"model": model, "input": QUESTION, "max_output_tokens": 2, **options}
        told = official.responses.create(**given)
        assert (told.temperature, told.top_p) == drawn


ITEMS: list[Any] = [
    {"role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How is it in Rome?"}]},
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "weather",
        "arguments": '{"city":"Rome"}',
    },
    {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": '{"sun": true}'},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "noon"}]},
]


def test_items_are_the_messages_of_a_chat(official: OpenAI, responding: Running) -> None:
    calls = [("c1", "weather", '{"city":"Rome"}'), ("c2", "now", "{}")]
    turns: Any = [
        {"role": "system", "content": "Be long.\n\nBe brief."},
        {"role": "user", "content": "How is it in Rome?"},
        {
            "role": "assistant",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": one, "type": "function", "function": {"name": name, "arguments": given}}
                for one, name, given in calls
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"sun": true}'},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    ]
    chat = official.chat.completions.create(model="hermes", messages=turns, max_tokens=12, temperature=0)
    told = ask(official, ITEMS, instructions="Be long.")
    assert told.usage.input_tokens == chat.usage.prompt_tokens
    assert told.output_text == chat.choices[0].message.content


def names(events: list[Any]) -> list[str]:
    """The kinds of the events, with repeated deltas once."""
    found: list[str] = []
    for event in events:
        if not (event.type.endswith("delta") and found and found[-1] == event.type):
            found.append(event.type)
    return found


TEXT_EVENTS = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
REASONING_EVENTS = [name.replace("output_text", "reasoning_text") for name in TEXT_EVENTS]
CALL_EVENTS = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]


def test_events_are_in_the_official_order(official: OpenAI, responding: Running) -> None:
    options = force(responding, "<think>\nHm.\n</think>\n\nIt is so.")
    events = list(ask(official, stream=True, **options))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    start = ["response.created", "response.in_progress"]
    assert names(events) == [*start, *REASONING_EVENTS, *TEXT_EVENTS, "response.completed"]
    final = events[-1].response
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output[0].content[0].text == "Hm."
    assert final.output_text == "It is so."
    assert final.usage.output_tokens_details.reasoning_tokens > 0
    joined = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert joined == final.output_text
    called = list(ask(official, stream=True, tools=[NOW], tool_choice="required", max_output_tokens=200))
    assert names(called)[:6] == [*start, *CALL_EVENTS]
    assert names(called)[-1] == "response.completed"


def test_the_helper_and_the_parser(official: OpenAI) -> None:
    class Fact(BaseModel):
        sure: bool

    with official.responses.stream(
        model="hermes", input=QUESTION, text_format=Fact, max_output_tokens=60
    ) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response()
    assert isinstance(streamed.output_parsed, Fact)
    parsed = official.responses.parse(model="hermes", input=QUESTION, text_format=Fact, max_output_tokens=60)
    assert isinstance(parsed.output_parsed, Fact)
    assert parsed.text.format.type == "json_schema"
    assert parsed.text.format.name == "Fact"


@pytest.mark.parametrize("model", ["hermes", "harmony"])
def test_a_loop_of_tools_closes(official: OpenAI, model: str) -> None:
    """By sending everything again, and by the id of what came before: the model reads the same."""
    options: Any = {"model": model, "tools": [WEATHER], "max_output_tokens": 400}
    first = ask(official, "How is it?", tool_choice="required", parallel_tool_calls=False, **options)
    assert first.status == "completed"
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")
    assert call.status == "completed"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    options = {**options, "tool_choice": "none", "max_output_tokens": 8}
    again = ask(
        official,
        [{"role": "user", "content": "How is it?"}, *(item.model_dump() for item in first.output), result],
        **options,
    )
    by_id = ask(official, [result], previous_response_id=first.id, **options)
    assert by_id.previous_response_id == first.id
    assert by_id.output_text == again.output_text
    assert by_id.usage.input_tokens == again.usage.input_tokens > 20


def test_what_is_kept_and_what_is_gone(official: OpenAI, responding: Running) -> None:
    first = ask(official, max_output_tokens=2)
    second = ask(official, "And now?", previous_response_id=first.id, max_output_tokens=2)
    assert official.responses.retrieve(first.id).output_text == first.output_text
    items = official.responses.input_items.list(second.id).data
    assert [item.type for item in items] == ["message"] * 3
    assert [item.content[0].text for item in items] == ["And now?", first.output_text, QUESTION]
    assert [item.content[0].type for item in items] == ["input_text", "output_text", "input_text"]
    assert [item.id for item in items] == [item.id for item in official.responses.input_items.list(second.id)]
    assert items[1].id == first.output[0].id
    official.responses.delete(first.id)
    with pytest.raises(NotFoundError) as missing:
        official.responses.retrieve(first.id)
    assert missing.value.code == "response_not_found"
    with pytest.raises(NotFoundError):
        official.responses.delete(first.id)
    # The second holds the conversation by itself.
    ask(official, "And then?", previous_response_id=second.id, max_output_tokens=2)
    secret = ask(official, store=False, max_output_tokens=2)
    for gone in (first.id, secret.id, "resp_nope"):
        with pytest.raises(BadRequestError) as refused:
            ask(official, previous_response_id=gone)
        assert (refused.value.param, refused.value.code) == (
            "previous_response_id",
            "previous_response_not_found",
        )
        assert gone in refused.value.message
    for _ in range(20):
        newest = ask(official, max_output_tokens=1)
    assert len(responding.services.responses) == 20
    with pytest.raises(NotFoundError):
        official.responses.retrieve(second.id)
    assert official.responses.retrieve(newest.id).id == newest.id


def test_items_come_in_pages(official: OpenAI, responding: Running) -> None:
    """The client asks for the next page by itself."""
    texts = [f"number {place}" for place in range(45)]
    told = ask(official, [{"role": "user", "content": text} for text in texts], max_output_tokens=1)

    def read(**options: Any) -> Any:
        return official.responses.input_items.list(told.id, **options)

    for options in ({}, {"limit": 7}, {"limit": 100}):
        assert [item.content[0].text for item in read(**options)] == texts[::-1]
        assert [item.content[0].text for item in read(order="asc", **options)] == texts
    first = read(order="asc", limit=2)
    assert (len(first.data), first.has_more) == (2, True)
    rest = read(order="asc", after=first.data[-1].id, limit=100)
    assert (len(rest.data), rest.has_more, rest.data[0].content[0].text) == (43, False, "number 2")
    for options, param in (({"limit": 0}, "limit"), ({"after": "nope"}, "after")):
        with pytest.raises(BadRequestError) as refused:
            read(**options)
        assert refused.value.param == param
    call = {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "noon"}
    looped = ask(official, [{"role": "user", "content": "x"}, call, result], max_output_tokens=1)
    output, called, _ = official.responses.input_items.list(looped.id).data
    assert (output.type, output.output, called.type, called.name) == (
        result["type"],
        "noon",
        call["type"],
        "now",
    )


def test_what_a_model_wrote_can_always_be_gone_on_from(official: OpenAI) -> None:
    """Random models write NUL, which nobody may send; what comes back of it is no reason to end a conversation."""
    said = [{"type": "output_text", "text": "a\0b", "annotations": []}]
    call = {"type": "function_call", "call_id": "c", "name": "now", "arguments": '{"a": "\\u0000"}'}
    items: list[Any] = [
        {"role": "user", "content": "x"},
        {"type": "message", "role": "assistant", "content": said},
        call,
        {"type": "function_call_output", "call_id": "c", "output": "y"},
    ]
    assert ask(official, items, max_output_tokens=2).output
    turns: Any = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a\0b"}]
    official.chat.completions.create(model="hermes", messages=turns, max_tokens=2)
    with pytest.raises(BadRequestError) as refused:
        ask(official, "a\0b")
    assert refused.value.param == "input"


def test_bytes_are_bounded_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    from glassformer.server.response_store import ResponseStore, StoredResponse

    store = ResponseStore(10_000, 1000)
    for place in range(50):
        given = [{"role": "user", "content": "x" * 800}]
        store.keep(StoredResponse({"id": f"r{place}", "output": []}, given))
        assert store.nbytes <= 10_000
        store.find("r0" if place < 5 else f"r{place}")
    store.keep(StoredResponse({"id": "huge", "output": []}, [{"content": "x" * 20_000}]))
    assert 5 < len(store) < 12
    sizes = store.nbytes
    store.delete("r49")
    assert store.nbytes < sizes


def test_log_probabilities(official: OpenAI) -> None:
    told = ask(official, include=["message.output_text.logprobs"], top_logprobs=2)
    part = told.output[0].content[0]
    assert "".join(one.token for one in part.logprobs) == part.text
    assert all(len(one.top_logprobs) == 2 for one in part.logprobs)


FORM: dict[str, Any] = {"type": "json_schema", "name": "x"}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"background": True}, "background", "not supported"),
    ({"tools": [{"type": "web_search"}]}, "tools.0", "web_search"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools.0", "mcp"),
    ({"tools": [WEATHER, {"type": "function"}]}, "tools.1", "needs a name"),
    ({"tool_choice": {"type": "function", "name": "nope"}, "tools": [NOW]}, "tool_choice", "nope"),
    ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
    ({"input": []}, "input", "list"),
    ({"input": ""}, "input", "empty"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content", "image"),
    ({"input": [{"role": "user"}]}, "input.0.content", "required"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0", "item_reference"),
    ({"input": [{"type": "function_call_output", "call_id": "c9", "output": "x"}]}, "input", "'c9'"),
    ({"max_output_tokens": 0}, "max_output_tokens", "greater"),
    ({"max_output_tokens": 10**6}, "max_output_tokens", "at most"),
    ({"extra_body": {"max_tokens": 5}}, "max_tokens", "send max_output_tokens"),
    ({"text": {"format": FORM}}, "text.format.schema", "missing"),
    ({"text": {"format": {**FORM, "schema": {"type": "array", "items": {"not": {}}}}}}, "text.format", "not"),
    ({"metadata": {str(number): "x" for number in range(17)}}, "metadata", "16"),
    ({"input": "x" * 30_000}, "input", "at most"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "param", "sentence"), REFUSED)
def test_what_is_refused_is_named(
    official: OpenAI, options: dict[str, Any], param: str, sentence: str
) -> None:
    given = {"given": options.get("input", QUESTION), **options}
    given.pop("input", None)
    for stream in (False, True):
        with pytest.raises(BadRequestError) as refused:
            ask(official, stream=stream, **given)
        assert refused.value.param == param
        assert sentence in refused.value.message


def test_a_fault_in_the_middle_is_told(official: OpenAI, responding: Running) -> None:
    """The model goes away under a stream: its last events say so."""
    events = ask(official, stream=True, max_output_tokens=4000)
    found = []
    for event in events:
        found.append(event)
        if len(found) == 4:
            for engine in list(responding.services._engines.values()):
                engine.close()
            responding.services._engines.clear()
    assert [event.type for event in found[-2:]] == ["error", "response.failed"]
    assert found[-1].response.status == "failed"
    assert len(found[-2].message) > 5
    assert ask(official, max_output_tokens=2).status == "incomplete"
