"""LlamaIndex's OpenAILike: text, chats, structured answers, and its own call of a tool."""

from checks import BASE, KEY, MODEL, QUESTION, run, weather
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Fact(BaseModel):
    """Whether it is sure."""

    sure: bool


OPTIONS = {"model": MODEL, "api_base": BASE, "api_key": KEY, "max_tokens": 400, "context_window": 4096}
model = OpenAILike(is_chat_model=True, is_function_calling_model=True, **OPTIONS)


def complete() -> None:
    assert OpenAILike(**{**OPTIONS, "max_tokens": 5}).complete("Mia has a").text


def chat() -> None:
    assert model.chat([ChatMessage(role="user", content=QUESTION)]).message.content
    parts = list(model.stream_chat([ChatMessage(role="user", content=QUESTION)]))
    assert parts[-1].message.content


def structured() -> None:
    found = model.structured_predict(Fact, PromptTemplate(QUESTION))
    assert isinstance(found, Fact)


def tools() -> None:
    tool = FunctionTool.from_defaults(weather)
    answer = model.predict_and_call([tool], QUESTION, tool_required=True, error_on_no_tool_call=True)
    assert "sunny" in str(answer)


def embeddings() -> None:
    embedder = OpenAILikeEmbedding(model_name=MODEL, api_base=BASE, api_key=KEY)
    assert len(embedder.get_text_embedding("one")) > 8


run(
    ["llama-index-core", "llama-index-llms-openai-like"],
    {
        "complete": complete,
        "chat, stream": chat,
        "structured_predict": structured,
        "tools": tools,
        "embeddings": embeddings,
    },
)
