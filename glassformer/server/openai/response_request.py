"""What a client of `/v1/responses` may send. The same pieces as a chat's, under the names of that call."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, PrivateAttr, field_validator, model_validator

from glassformer.conversation.conversation import Conversation
from glassformer.errors import BadValue
from glassformer.server.openai.openai_request import (
    MOST_TOP_LOGPROBS,
    Effort,
    Limit,
    ResponseFormat,
    TalkRequest,
)
from glassformer.server.openai.response_item import read_input, read_turns
from glassformer.server.openai.turn_message import Part, check_texts, read_messages
from glassformer.server.text_field import Text

MOST_METADATA = 16
LOGPROBS = "message.output_text.logprobs"


class TextOptions(Part):
    format: ResponseFormat | None = None


class ReasoningOptions(Part):
    """How much is to be thought, as far as the model's template knows of it. Said back."""

    effort: Effort | None = None
    summary: Text | None = None


class ResponseRequest(TalkRequest):
    """`POST /v1/responses`."""

    prompt_field: ClassVar[str] = "input"
    renamed: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "max_tokens": "max_output_tokens",
            "max_completion_tokens": "max_output_tokens",
            "response_format": "text.format, with a schema in it",
            "messages": "input",
            "prompt": "input",
            "conversation": "previous_response_id",
            "background": "stream",
            "logprobs": "include and top_logprobs",
        }
    )

    input: Annotated[
        list[dict[str, Any]], PlainValidator(read_input, json_schema_input_type=str | list[dict[str, Any]])
    ]
    instructions: Text | None = None
    previous_response_id: Text | None = Field(None, max_length=200)
    store: bool = True
    max_output_tokens: Limit = Field(None, ge=1, le=1_000_000)
    text: TextOptions = Field(default_factory=TextOptions)
    include: list[Text] = Field(default_factory=list, max_length=32)
    top_logprobs: int = Field(0, ge=0, le=MOST_TOP_LOGPROBS)
    metadata: dict[str, Any] = Field(default_factory=dict)
    reasoning: ReasoningOptions = Field(default_factory=ReasoningOptions)
    truncation: Literal["auto", "disabled"] = "disabled"

    _before: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @field_validator("metadata")
    @classmethod
    def check_metadata(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(value) > MOST_METADATA or not all(isinstance(one, str) for one in value.values()):
            raise ValueError(f"holds at most {MOST_METADATA} texts by name")
        check_texts(value)
        return value

    @model_validator(mode="after")
    def check_response(self) -> ResponseRequest:
        chosen = self.text.format
        is_schema = chosen is not None and chosen.type == "json_schema"
        if chosen is not None and is_schema and chosen.json_schema is None and chosen.schema_beside is None:
            raise BadValue("text.format.schema is missing.", field="text.format.schema")
        if self.n != 1:
            raise BadValue("A response has one answer; n is for chats.", field="n")
        self.tool_use()
        return self

    def go_on_from(self, items: list[dict[str, Any]]) -> None:
        """Have the conversation begin with `items`."""
        self._before = items

    @property
    def before(self) -> list[dict[str, Any]]:
        """What the conversation begins with."""
        return self._before

    def conversation(self) -> Conversation:
        turns = read_turns([*self._before, *self.input], self.instructions)
        if not turns:
            raise BadValue("input has nothing to answer.", field="input")
        return Conversation(read_messages(turns), variables=self.variables())

    @property
    def effort(self) -> str | None:
        return self.reasoning.effort

    def constraints(self) -> dict[str, dict[str, Any]]:
        wanted = super().constraints()
        schema = self.text.format.schema_wanted if self.text.format else None
        return wanted if schema is None else {**wanted, "text.format": {"json_schema": schema}}

    @property
    def limit(self) -> tuple[str, int | None]:
        return "max_output_tokens", self.max_output_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        return self.top_logprobs if self.top_logprobs or LOGPROBS in self.include else None
