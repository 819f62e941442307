"""What a client of the OpenAI-shaped surface may send, and what it means here.

Every parameter that the official client knows is honoured, ignored (`IGNORED`: it changes nothing about the text) or
refused by name (`REFUSED`); any other name is refused too, so that a typing slip is heard. `null` is as good as
left out. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from glassformer.errors import BadValue
from glassformer.protocol.checked_text import check_text
from glassformer.protocol.messages import ChatMessage, Constraint, Sampling
from glassformer.protocol.parse import parse
from glassformer.server.text_field import Stops, Text

MOST_CHOICES = 16
MOST_PROMPTS = 64
MOST_TOP_LOGPROBS = 20
# A top_p of 0 keeps the most probable token alone; the sampler wants a number above 0 for that.
SMALLEST_TOP_P = 1e-9

IGNORED = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_options "
    "prompt_cache_retention prediction reasoning_effort verbosity parallel_tool_calls".split()
)
NO_TOOLS = "Tools are not supported: this server answers with text only."
REFUSED = {
    "tools": NO_TOOLS,
    "tool_choice": NO_TOOLS,
    "functions": NO_TOOLS,
    "function_call": NO_TOOLS,
    "audio": "Audio is not supported: this server answers with text only.",
    "moderation": "Moderation is not supported.",
    "web_search_options": "Web search is not supported.",
    "suffix": "A suffix is not supported: the model only continues a text.",
    "chat_template": "The model's own chat template is used; a request cannot bring one.",
    "chat_template_kwargs": "The model's own chat template is used as it is.",
}
# Values that ask for nothing, as clients send them by habit.
ASKING_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "suffix": ("",),
}


def refuse_part(kind: object) -> ValueError:
    return ValueError(f"parts of type {str(kind)[:40]!r} are not supported; this server reads text only")


def join_parts(value: object) -> object:
    """The text of a message's content: a string, or text parts, each a line of its own. Raises ValueError."""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise refuse_part(kind)
        if not isinstance(part.get("text"), str):
            raise ValueError("a text part needs a text")
        texts.append(part["text"])
    return "\n".join(texts)


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


def is_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


class Part(BaseModel):
    """Base of what stands inside a request; unknown names are ignored there, as answers are sent back whole."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())


class StreamOptions(Part):
    include_usage: bool = False


class ResponseSchema(Part):
    json_schema: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: ResponseSchema | None = None

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must fit, if any."""
        if self.type == "json_object":
            return {"type": "object"}
        return self.json_schema.json_schema if self.type == "json_schema" and self.json_schema else None


class TurnMessage(Part):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[Text, BeforeValidator(join_parts)]

    @model_validator(mode="before")
    @classmethod
    def refuse_calls(cls, data: Any) -> Any:
        if isinstance(data, dict):
            is_call = data.get("role") in ("tool", "function")
            if is_call or data.get("tool_calls") or data.get("function_call"):
                raise BadValue(NO_TOOLS, field="messages")
            if data.get("audio"):
                raise BadValue(REFUSED["audio"], field="messages")
        return data

    def as_turn(self) -> ChatMessage:
        """The message in the roles that chat templates know."""
        role: Any = "system" if self.role == "developer" else self.role
        return ChatMessage(role=role, content=self.content)


class OpenAIRequest(BaseModel):
    """What both calls share. Names after `stop` are no part of OpenAI's own; clients send them as `extra_body`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: Annotated[Text, StringConstraints(min_length=1, max_length=512)]
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

    @model_validator(mode="before")
    @classmethod
    def weed(cls, data: Any) -> Any:
        """Leave out what says nothing, and refuse what is not done. Raises BadValue."""
        if not isinstance(data, dict):
            return data
        kept = {}
        for name, value in data.items():
            if value is None or name in IGNORED:
                continue
            if name in REFUSED:
                if value in ASKING_NOTHING.get(name, ()):
                    continue
                raise BadValue(REFUSED[name], field=name)
            if name not in cls.model_fields:
                raise BadValue("This call has no parameter of that name.", field=str(name)[:200])
            kept[name] = value
        return kept

    @model_validator(mode="after")
    def check_together(self) -> OpenAIRequest:
        if self.stream_options is not None and not self.stream:
            raise BadValue("stream_options is for streams; set stream too.", field="stream_options")
        return self

    @property
    def has_usage_chunk(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, choice: int) -> Sampling:
        """How choice number `choice` is drawn: each has a seed of its own. Raises BadValue."""
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
            "constraint": self.constraint(),
        }
        return parse(Sampling, values)

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
        }
        return {name: {kind: value} for name, (kind, value) in given.items() if value is not None}


class ChatRequest(OpenAIRequest):
    """`POST /v1/chat/completions`."""

    prompt_field: ClassVar[str] = "messages"

    messages: list[TurnMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] = Field(default_factory=list)

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
        if chosen is not None and chosen.type == "json_schema" and chosen.json_schema is None:
            raise BadValue("A json_schema is missing.", field="response_format.json_schema")
        return self

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
    max_tokens: int = Field(16, ge=0, le=1_000_000)
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP_LOGPROBS)
    echo: bool = False
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
    def limit(self) -> tuple[str, int]:
        return "max_tokens", self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """How many alternatives to tell beside each token; None means no log probabilities at all."""
        return self.logprobs
