"""openai-agents: its default model (responses) and that for chats, its loop of tools, typed outputs, streams."""

import asyncio
from typing import Literal

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checks import BASE, KEY, MODEL, QUESTION, run
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
KINDS = {"responses": OpenAIResponsesModel, "chats": OpenAIChatCompletionsModel}
called: list[str] = []


class Fact(BaseModel):
    sure: bool


@function_tool
def weather(city: Literal["Rome", "Oslo"]) -> str:
    """How it is in a city."""
    called.append(city)
    return f"It is sunny in {city}."


def ask(kind: str, **options: object) -> object:
    model = KINDS[kind](MODEL, AsyncOpenAI(base_url=BASE, api_key=KEY))
    settings = ModelSettings(max_tokens=400, tool_choice="required" if options.get("tools") else None)
    if not options:  # an answer that is cut off is an error to it, so one that ends by itself
        settings.extra_body = {"guided_regex": "[a-z]{5,20}"}
    agent = Agent(name="asker", instructions="Be brief.", model=model, model_settings=settings, **options)
    return asyncio.run(Runner.run(agent, QUESTION, max_turns=40)).final_output


def plain(kind: str) -> None:
    assert ask(kind)


def typed(kind: str) -> None:
    assert isinstance(ask(kind, output_type=Fact), Fact)


def tools(kind: str) -> None:
    """A tool must be called first; its loop then leaves the choice to the model, whose answer fits a schema."""
    called.clear()
    assert isinstance(ask(kind, tools=[weather], output_type=Fact), Fact)
    assert called


def stream(kind: str) -> None:
    async def read() -> object:
        model = KINDS[kind](MODEL, AsyncOpenAI(base_url=BASE, api_key=KEY))
        # An answer that is cut off is an error to it, so one that ends by its schema.
        settings = ModelSettings(max_tokens=200)
        agent = Agent(name="asker", model=model, model_settings=settings, output_type=Fact)
        found = Runner.run_streamed(agent, QUESTION)
        async for _ in found.stream_events():
            pass
        return found.final_output

    assert asyncio.run(read())


CHECKS = {"plain": plain, "typed": typed, "tools": tools, "stream": stream}
run(
    ["openai-agents", "openai"],
    {
        f"{name} ({kind})": (lambda check=check, kind=kind: check(kind))
        for kind in KINDS
        for name, check in CHECKS.items()
    },
)
