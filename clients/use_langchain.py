"""LangChain's `langchain-openai`: models, structured output, a loop of tools by hand and by an agent."""

from typing import Literal

from checks import BASE, KEY, MODEL, QUESTION, run
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Fact(BaseModel):
    sure: bool


@tool
def weather(city: Literal["Rome", "Oslo"]) -> str:
    """How it is in a city."""
    return f"It is sunny in {city}."


model = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, max_tokens=400)


def invoke() -> None:
    assert model.invoke(QUESTION).content


def stream() -> None:
    assert "".join(chunk.content for chunk in model.stream(QUESTION))


def structured() -> None:
    for method in ("json_schema", "function_calling"):
        assert isinstance(model.with_structured_output(Fact, method=method).invoke(QUESTION), Fact)


def tools() -> None:
    first = model.bind_tools([weather], tool_choice="any").invoke(QUESTION)
    assert first.tool_calls
    results = [
        ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    assert model.invoke([HumanMessage(QUESTION), first, *results]).content


def agent() -> None:
    """The agent's own loop, ended by the structured answer that is a tool too."""
    made = create_agent(model, tools=[weather], response_format=Fact)
    found = made.invoke({"messages": [HumanMessage(QUESTION)]}, {"recursion_limit": 60})
    assert isinstance(found["structured_response"], Fact)


def responses() -> None:
    other = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, use_responses_api=True, max_tokens=20)
    assert other.invoke(QUESTION).text
    assert "".join(chunk.text for chunk in other.stream(QUESTION))


def embeddings() -> None:
    embedder = OpenAIEmbeddings(model=MODEL, base_url=BASE, api_key=KEY, check_embedding_ctx_length=False)
    assert len(embedder.embed_documents(["one", "two"])) == 2


run(
    ["langchain", "langchain-openai"],
    {
        "invoke": invoke,
        "stream": stream,
        "structured output": structured,
        "tools": tools,
        "agent": agent,
        "responses": responses,
        "embeddings": embeddings,
    },
)
