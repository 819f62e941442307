"""What a client of the OpenAI-shaped surface may send, and what it means here.

Every parameter that the official client knows is honoured, ignored or refused by name (`weeded.py`). Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from glassformer.conversation.conversation import Conversation
from glassformer.errors import BadValue
from glassformer.protocol.checked_text import check_text
from glassformer.protocol.messages import Constraint, Sampling
from glassformer.protocol.parse import parse
from glassformer.server.openai.tool_choice import Tools, ToolUse, choose, read_tools
from glassformer.server.openai.turn_message import Part, TurnMessage, check_texts, read_messages
from glassformer.server.openai.weeded import Weeded
from glassformer.server.text_field import Stops, Text

MOST_CHOICES = 16
MOST_PROMPTS = 64
MOST_TOP_LOGPROBS = 20
# A top_p of 0 keeps the most probable token alone; the sampler wants a number above 0 for that.
SMALLEST_TOP_P = 1e-9


def read_prompts(value: object) -> list[str | list[int]]:
    """Each prompt as a string or as token ids, whichever of the four forms was sent. Raises ValueError."""
    if isinstance(value, str) or is_ids(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError("is a string, a list of strings, a list of token ids or a list of such lists")
    if len(value) > MOST_PROMPTS:
        raise ValueError(f"holds at most {MOST_PROMPTS} prompts")
    for prompt in value:
        if isinstance(prompt, str):
            check_text(prompt)
        elif not is_ids(prompt):
            raise ValueError("is a string, a list of strings, a list of token ids or a list of such lists")
        if not prompt:
            raise ValueError("must not be empty")
    return value


def read_limit(value: object) -> object:
    """None, for as many as there is room, also where it is spelt -1."""
    return None if type(value) is int and value == -1 else value


def is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def check_variables(value: dict[str, Any]) -> dict[str, Any]:
    """Switches of a template, none of which is what a conversation itself gives it. Raises ValueError."""
    for name in ("messages", "tools", "chat_template", "documents"):
        if name in value:
            raise ValueError(f"{name} cannot be among them")
    checked: dict[str, Any] = check_texts(value)
    return checked


Variables = Annotated[dict[str, Any], AfterValidator(check_variables)]
Limit = Annotated[int | None, BeforeValidator(read_limit)]
Effort = Annotated[Text, Field(min_length=1, max_length=40)]


class StreamOptions(Part):
    include_usage: bool = False


class ResponseSchema(Part):
    json_schema: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Part):
    """Some clients send the schema beside the type, also of an object, as other servers take it."""

    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    json_schema: ResponseSchema | None = None
    schema_beside: dict[str, Any] | None = Field(None, alias="schema")

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must fit, if any."""
        if self.type == "text":
            return None
        if self.json_schema is not None and self.type == "json_schema":
            return self.json_schema.json_schema
        return self.schema_beside or {"type": "object"}


class OpenAIRequest(Weeded):
    """What calls that write share. Names after `stop` are not OpenAI's; clients send them as `extra_body`."""

    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    logit_bias: dict[int, float] = Field(default_factory=dict)
    stop: Stops = Field(default_factory=list)
    top_k: int = Field(0, ge=-1, le=1_000_000, description="0 or -1 = off")
    min_p: float = Field(0.0, ge=0, le=1)
    typical_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=100)
    stop_token_ids: list[int] = Field(default_factory=list, max_length=256)
    guided_json: dict[str, Any] | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None

    @model_validator(mode="after")
    def check_together(self) -> OpenAIRequest:
        if self.has_usage_chunk and not self.stream:
            raise BadValue("stream_options is for streams; set stream too.", field="stream_options")
        return self

    @property
    def has_usage_chunk(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(
        self, choice: int, constraint: Constraint | None, usual: Mapping[str, float] | None = None
    ) -> Sampling:
        """How choice number `choice` is drawn: each has a seed of its own. Raises BadValue.

        What the request leaves out is as `usual` with the model, else as with OpenAI.
        """
        seed = None if self.seed is None else (self.seed + choice) % 2**63
        values = {
            "temperature": self.temperature,
            "top_p": max(self.top_p, SMALLEST_TOP_P),
            "top_k": max(self.top_k, 0),
            "min_p": self.min_p,
            "typical_p": self.typical_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.logit_bias,
            "seed": seed,
            "constraint": constraint,
        }
        return parse(Sampling, {**values, **self.left_out(usual or {})})

    def left_out(self, usual: Mapping[str, float]) -> dict[str, float]:
        """Those of the `usual` values that the request names no others for."""
        return {name: value for name, value in usual.items() if name not in self.model_fields_set}

    def constraint(self) -> Constraint | None:
        """What the text must be, if anything. Raises BadValue."""
        wanted = self.constraints()
        if not wanted:
            return None
        if len(wanted) > 1:
            names = " and ".join(wanted)
            raise BadValue(f"Only one of {names} can be asked for.", field=list(wanted)[-1])
        name, value = next(iter(wanted.items()))
        try:
            return Constraint.model_validate(value)
        except ValidationError as error:
            raise BadValue(f"{name}: {error.errors()[0]['msg']}.", field=name) from None

    def constraints(self) -> dict[str, dict[str, Any]]:
        """The constraints asked for, by the parameter that asks."""
        given: dict[str, tuple[str, Any]] = {
            "guided_json": ("json_schema", self.guided_json),
            "guided_regex": ("regex", self.guided_regex),
            "guided_choice": ("choices", self.guided_choice),
            "guided_grammar": ("grammar", self.guided_grammar),
        }
        return {name: {kind: value} for name, (kind, value) in given.items() if value is not None}


class TalkRequest(OpenAIRequest):
    """What calls that answer a conversation share."""

    prompt_field: ClassVar[str]

    tools: Tools = Field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: Variables = Field(default_factory=dict)

    def tool_use(self) -> ToolUse:
        """The tools that may be called. Raises BadValue."""
        return choose(read_tools(self.tools), self.tool_choice, several=self.parallel_tool_calls)

    @property
    def effort(self) -> str | None:
        """How much is to be thought, in the words of whoever asks."""
        raise NotImplementedError

    def variables(self) -> dict[str, Any]:
        """The template's switches. Many know reasoning as on or off alone, some by an effort."""
        found = dict(self.chat_template_kwargs)
        if self.enable_thinking is not None:
            found.setdefault("enable_thinking", self.enable_thinking)
        if self.effort is not None:
            found.setdefault("reasoning_effort", self.effort)
            if self.effort == "none":
                found.setdefault("enable_thinking", False)
        return found

    def conversation(self) -> Conversation:
        """What the model is to read, without tools. Raises BadValue."""
        raise NotImplementedError

    @property
    def limit(self) -> tuple[str, int | None]:
        """The most tokens to generate, with the name that the client knows it by; None means all there is room for."""
        raise NotImplementedError

    @property
    def wanted_logprobs(self) -> int | None:
        """How many alternatives to tell beside each token; None means no log probabilities at all."""
        raise NotImplementedError


class ChatRequest(TalkRequest):
    """`POST /v1/chat/completions`."""

    prompt_field: ClassVar[str] = "messages"

    messages: list[TurnMessage] = Field(min_length=1)
    max_tokens: Limit = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: Limit = Field(None, ge=1, le=1_000_000)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    modalities: list[Literal["text"]] = Field(default_factory=list)
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False

    @model_validator(mode="after")
    def check_chat(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise BadValue("top_logprobs needs logprobs to be true.", field="top_logprobs")
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            raise BadValue(
                "max_tokens and max_completion_tokens differ; send one.", field="max_completion_tokens"
            )
        chosen = self.response_format
        is_schema = chosen is not None and chosen.type == "json_schema"
        if chosen is not None and is_schema and chosen.json_schema is None and chosen.schema_beside is None:
            raise BadValue("A json_schema is missing.", field="response_format.json_schema")
        self.tool_use()
        return self

    def conversation(self) -> Conversation:
        """What the model is to read, without tools. Raises BadValue."""
        variables = self.variables()
        # Some clients send these two among the template's switches.
        inside = [variables.pop(name, None) for name in ("add_generation_prompt", "continue_final_message")]
        prompts = inside[0] if self.add_generation_prompt is None else self.add_generation_prompt
        continues = bool(self.continue_final_message or inside[1])
        if continues and prompts:
            raise BadValue(
                "Either the last message goes on or a new one is begun; send one of add_generation_prompt and "
                "continue_final_message.",
                field="continue_final_message",
            )
        return Conversation(
            read_messages(self.messages),
            variables=variables,
            prompts=True if prompts is None else bool(prompts),
            continues=continues,
        )

    @property
    def effort(self) -> str | None:
        return self.reasoning_effort

    def constraints(self) -> dict[str, dict[str, Any]]:
        wanted = super().constraints()
        schema = self.response_format.schema_wanted if self.response_format else None
        return wanted if schema is None else {**wanted, "response_format": {"json_schema": schema}}

    @property
    def limit(self) -> tuple[str, int | None]:
        """The most tokens to generate, with the name that the client knows it by; None means all there is room for."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return "max_tokens", self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """How many alternatives to tell beside each token; None means no log probabilities at all."""
        return self.top_logprobs if self.logprobs else None


class CompletionRequest(OpenAIRequest):
    """`POST /v1/completions`."""

    prompt_field: ClassVar[str] = "prompt"

    prompt: Annotated[
        list[str | list[int]],
        PlainValidator(read_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
    ]
    max_tokens: Limit = Field(16, ge=0, le=1_000_000)
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP_LOGPROBS)
    echo: bool = False
    control_tokens: bool = True
    best_of: int | None = None

    @field_validator("logprobs", mode="before")
    @classmethod
    def refuse_bool(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("is a number here: how many alternatives to tell")
        return value

    @model_validator(mode="after")
    def check_completion(self) -> CompletionRequest:
        if self.best_of is not None and self.best_of != self.n:
            raise BadValue("best_of is not supported; leave it out or let it be n.", field="best_of")
        if len(self.prompt) * self.n > MOST_PROMPTS:
            raise BadValue(f"At most {MOST_PROMPTS} texts can be asked for at once.", field="n")
        return self

    @property
    def limit(self) -> tuple[str, int | None]:
        """The most tokens to generate; None means all there is room for."""
        return "max_tokens", self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """How many alternatives to tell beside each token; None means no log probabilities at all."""
        return self.logprobs
