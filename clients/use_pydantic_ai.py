"""pydantic-ai: plain, streamed, outputs as tools (its default) and by a schema, and its own loop of tools."""

import asyncio
from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, run
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, UsageLimits
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Fact(BaseModel):
    sure: bool


provider = OpenAIProvider(base_url=BASE, api_key=KEY)
model = OpenAIChatModel(MODEL, provider=provider)
SETTINGS = {"max_tokens": 300}


def plain() -> None:
    assert Agent(model, model_settings={"max_tokens": 20}).run_sync(QUESTION).output


def stream() -> None:
    async def read() -> str:
        async with Agent(model, model_settings={"max_tokens": 20}).run_stream(QUESTION) as found:
            return await found.get_output()

    assert asyncio.run(read())


def outputs() -> None:
    for kind in (Fact, NativeOutput(Fact)):
        agent = Agent(model, output_type=kind, model_settings=SETTINGS)
        assert isinstance(agent.run_sync(QUESTION).output, Fact)


def tools() -> None:
    """Its loop goes on until the model calls the tool that ends it."""
    agent = Agent(model, output_type=Fact, model_settings=SETTINGS)
    seen: list[str] = []

    @agent.tool_plain
    def weather(city: Literal["Rome", "Oslo"]) -> str:
        """How it is in a city."""
        seen.append(city)
        return f"It is sunny in {city}."

    found = agent.run_sync(QUESTION, usage_limits=UsageLimits(request_limit=30))
    assert isinstance(found.output, Fact)


def responses() -> None:
    agent = Agent(OpenAIResponsesModel(MODEL, provider=provider), output_type=Fact, model_settings=SETTINGS)
    assert isinstance(agent.run_sync(QUESTION).output, Fact)


run(
    ["pydantic-ai-slim", "openai"],
    {"plain": plain, "stream": stream, "outputs": outputs, "tools": tools, "responses": responses},
)
