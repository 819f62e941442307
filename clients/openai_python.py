"""The official client for Python."""

import json

import openai
from checks import BASE, KEY, MODEL, QUESTION, WEATHER, run, weather
from pydantic import BaseModel

client = openai.OpenAI(base_url=BASE, api_key=KEY)
TURNS = [{"role": "user", "content": QUESTION}]


class Fact(BaseModel):
    sure: bool


def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=TURNS, max_tokens=20, temperature=0)
    assert answer.choices[0].message.content


def stream() -> None:
    with client.chat.completions.stream(model=MODEL, messages=TURNS, max_tokens=20) as events:
        text = "".join(event.delta for event in events if event.type == "content.delta")
    assert text


def parse() -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=TURNS, response_format=Fact, max_tokens=100)
    assert isinstance(answer.choices[0].message.parsed, Fact)


def tools() -> None:
    offered = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    first = client.chat.completions.create(
        model=MODEL, messages=TURNS, tools=offered, tool_choice="required", max_tokens=400
    )
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": weather(**json.loads(call.function.arguments))}
        for call in message.tool_calls
    ]
    last = client.chat.completions.create(
        model=MODEL, messages=[*TURNS, message, *results], tools=offered, tool_choice="none", max_tokens=20
    )
    assert last.choices[0].message.content


def responses() -> None:
    first = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=20)
    again = client.responses.create(
        model=MODEL, input="And now?", previous_response_id=first.id, max_output_tokens=20
    )
    assert again.output_text
    parsed = client.responses.parse(model=MODEL, input=QUESTION, text_format=Fact, max_output_tokens=100)
    assert isinstance(parsed.output_parsed, Fact)


def embeddings() -> None:
    answer = client.embeddings.create(model=MODEL, input=["one", "two"])
    assert len(answer.data) == 2
    assert abs(sum(one * one for one in answer.data[0].embedding) - 1) < 1e-3


def decisions() -> None:
    question = {"type": "choice", "instructions": "Who?", "choices": [{"value": "Mia"}, {"value": "Tom"}]}
    answer = client.decisions.create(model=MODEL, input=QUESTION, questions=[question])
    assert answer.answers[0].choice in ("Mia", "Tom")


def completions() -> None:
    answer = client.completions.create(model=MODEL, prompt="Mia has a", max_tokens=5, logprobs=2, echo=True)
    assert answer.choices[0].logprobs.token_logprobs[0] is None


run(
    ["openai"],
    {
        "chat": chat,
        "stream": stream,
        "parse": parse,
        "tools": tools,
        "responses": responses,
        "embeddings": embeddings,
        "decisions": decisions,
        "completions": completions,
    },
)
