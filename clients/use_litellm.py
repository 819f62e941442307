"""LiteLLM, by its OpenAI provider and by that for servers like vLLM."""

import json

import litellm
from checks import BASE, KEY, MODEL, QUESTION, WEATHER, run, weather

TURNS = [{"role": "user", "content": QUESTION}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
ASKING = {"api_base": BASE, "api_key": KEY}


def chat() -> None:
    for provider in ("openai", "hosted_vllm"):
        answer = litellm.completion(model=f"{provider}/{MODEL}", messages=TURNS, max_tokens=20, **ASKING)
        assert answer.choices[0].message.content


def stream() -> None:
    parts = litellm.completion(model=f"openai/{MODEL}", messages=TURNS, max_tokens=20, stream=True, **ASKING)
    assert "".join(part.choices[0].delta.content or "" for part in parts)


def tools() -> None:
    options = {"model": f"hosted_vllm/{MODEL}", "tools": TOOLS, "max_tokens": 400, **ASKING}
    message = litellm.completion(messages=TURNS, tool_choice="required", **options).choices[0].message
    results = [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": weather(**json.loads(call.function.arguments)),
        }
        for call in message.tool_calls
    ]
    last = litellm.completion(
        messages=[*TURNS, message.model_dump(), *results], tool_choice="none", **options
    )
    assert last.choices[0].message.content


def schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": WEATHER, "strict": True}}
    answer = litellm.completion(
        model=f"openai/{MODEL}", messages=TURNS, response_format=form, max_tokens=100, **ASKING
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Rome", "Oslo")


def responses() -> None:
    answer = litellm.responses(model=f"openai/{MODEL}", input=QUESTION, max_output_tokens=20, **ASKING)
    assert answer.output[0].content[0].text


def embeddings() -> None:
    answer = litellm.embedding(model=f"openai/{MODEL}", input=["one", "two"], **ASKING)
    assert len(answer.data) == 2


def completions() -> None:
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="Mia has", max_tokens=5, **ASKING
    )
    assert answer.choices[0].text


run(
    ["litellm"],
    {
        "chat": chat,
        "stream": stream,
        "tools": tools,
        "json_schema": schema,
        "responses": responses,
        "embeddings": embeddings,
        "completions": completions,
    },
)
