"""The JSON messages of the native surface (`/api`), as pydantic models; those of the anatomy are in `anatomy.py`,
those of an explained cell in `explanation.py`, those of a reading in `reading.py`.

The same words stand in Python, on the wire, in the generated TypeScript and on the page. Shapes are
lists in the order of `axes`; `None` in a shape is the axis that grows with the recorded positions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from glassformer.protocol.checked_text import MOST_STOPS, check_stops
from glassformer.protocol.message import Message

# --- models --------------------------------------------------------------------------------------


class ChatMessage(Message):
    role: Literal["system", "user", "assistant"]
    content: str


class ModelSummary(Message):
    """A model this server can offer without being told an id: bundled ones, folders, loaded ones."""

    model_id: str
    title: str
    description: str = ""
    source: Literal["bundled", "folder", "hub"]
    status: Literal["available", "loading", "ready", "failed"]
    base: str | None = Field(
        default_factory=lambda: None,
        description="the model whose weights it computes with, where it is an adapter",
    )
    family: str | None = None
    store: str = Field(
        default_factory=str, description="the program that keeps it here, where that is another"
    )
    form: str | None = Field(default=None, description="how it lies on the disk: safetensors, GGUF Q4_K...")
    stored_bytes: int | None = Field(default=None, description="what its weights take on the disk")
    needed_bytes: int | None = Field(default=None, description="the memory it will take, before it is loaded")
    opens: bool | None = Field(
        default=None, description="whether its config and headers can be read; null unknown"
    )
    fits: bool | None = Field(
        default=None, description="whether it would fit alone; null where it is not known"
    )
    reason: str = Field(default_factory=str, description="why it does not open or fit")
    parameters: int | None = None
    bytes: int | None = Field(
        default=None, description="memory its weights take, once it is loaded; of an adapter what it adds"
    )
    device: str | None = None
    dtype: str | None = Field(default=None, description="number format it computes in")
    quantize: str | None = Field(default=None, description="how its weights are kept in fewer bits, or none")
    pinned: bool = Field(default=False, description="never unloaded to make room")
    note: str = Field(
        default_factory=str, description="what whoever looks at it should know, once it is loaded"
    )
    prompts: list[str] = Field(default_factory=list, description="sample prompts, best first")
    chat: bool | None = Field(
        default_factory=lambda: None, description="whether it has a chat template, once it is loaded"
    )
    conversation: list[ChatMessage] = Field(
        default_factory=list, description="a sample conversation, where that says more than a sample prompt"
    )
    error: str | None = None


class ModelList(Message):
    models: list[ModelSummary]
    default_model_id: str


class LoadRequest(Message):
    """How to load a model, where not as the server's settings say; what is left out is as they say."""

    device: str | None = Field(default=None, max_length=20, description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    quantize: Literal["none", "int8", "int4"] | None = None
    pinned: bool | None = Field(
        default=None, description="true keeps it in memory, false no longer; null leaves it"
    )


class LoadProgress(Message):
    """One event of `GET /api/models/{model_id}/load` (SSE event `progress`)."""

    model_id: str
    stage: Literal["queued", "downloading", "reading", "checking", "ready", "failed"]
    fraction: float | None = Field(
        default=None, description="of this stage: bytes downloaded, weights read, blocks checked"
    )
    detail: str = ""
    done_bytes: int | None = Field(default=None, description="while downloading, what is here already")
    total_bytes: int | None = None


# --- traces --------------------------------------------------------------------------------------


class Token(Message):
    """A token id and its text; `special` marks those the tokenizer treats as control tokens."""

    id: int
    text: str = Field(
        description="as it reads in the middle of a text; U+FFFD for what is no whole character"
    )
    special: bool = False
    bytes: list[int] | None = Field(
        default_factory=lambda: None, description="where the text has no whole characters, what it is made of"
    )


TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
Choice = Annotated[str, Field(min_length=1, max_length=1000)]


class Constraint(Message):
    """What the generated text must be, all of it: exactly one of the fields."""

    json_schema: dict[str, Any] | None = Field(default=None, description="JSON that fits this schema")
    regex: str | None = Field(
        default=None, min_length=1, max_length=4000, description="text that matches from end to end"
    )
    choices: list[Choice] | None = Field(
        default=None, min_length=1, max_length=1000, description="one of these texts"
    )
    grammar: str | None = Field(
        default_factory=lambda: None,
        min_length=1,
        description="text of this grammar, in llguidance's form of Lark",
    )

    @model_validator(mode="after")
    def require_one(self) -> Constraint:
        given = (self.json_schema, self.regex, self.choices, self.grammar)
        if sum(value is not None for value in given) != 1:
            raise ValueError("takes exactly one of json_schema, regex, choices and grammar")
        return self


class Sampling(Message):
    """How the next token is drawn. `temperature` 0 is greedy decoding.

    The filters apply in the order of `Filter`. The repetition penalty counts the prompt's tokens too, the presence
    and frequency penalties only generated ones.
    """

    temperature: float = Field(default=0.7, ge=0, le=100)
    top_k: int = Field(default=0, ge=0, le=1_000_000, description="0 = off")
    top_p: float = Field(default=0.95, gt=0, le=1, description="1 = off")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="share of the best token's probability; 0 = off"
    )
    typical_p: float = Field(default=1.0, gt=0, le=1, description="1 = off")
    repetition_penalty: float = Field(default=1.0, gt=0, le=100, description="1 = off")
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="once for each token written")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="for each time it was written")
    logit_bias: dict[TokenId, Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=1024, description="added to the logit of a token id"
    )
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    forced_token_ids: list[TokenId] = Field(
        default_factory=list, max_length=4096, description="the first generated tokens are these"
    )
    constraint: Constraint | None = None


class Span(Message):
    """The places from `start` to before `stop` of an axis; without a `stop`, all that come."""

    start: int = Field(default=0, ge=0)
    stop: int | None = Field(default=None, ge=0)


class Intervention(Message):
    """A change to some cells of one site whenever the model runs for a recording.

    `zero` takes no `value`; `scale` multiplies by one number; `set` and `add` take one number, or as many as there
    are chosen places on the site's last axis. Positions count from the start of the prompt through what is generated.
    """

    address: str = Field(min_length=1, max_length=200)
    operation: Literal["zero", "scale", "set", "add"]
    value: float | list[float] | None = None
    index: dict[str, list[int] | Span] = Field(
        default_factory=dict,
        description="places chosen on an axis, by its name; an axis left out is all of it",
    )

    @field_validator("value", mode="before")
    @classmethod
    def check_value(cls, value: object) -> object:
        """One sentence for every way in which a number or a list of numbers can be wrong."""
        numbers = value if isinstance(value, list) else [] if value is None else [value]
        for number in numbers:
            # A comparison that NaN and integers too long for a float fail as well.
            if (
                isinstance(number, bool)
                or not isinstance(number, (int, float))
                or not -1e300 < number < 1e300
            ):
                raise ValueError("must be a finite number or a list of finite numbers")
        return value

    @field_validator("index", mode="before")
    @classmethod
    def check_index(cls, value: object) -> object:
        """As above, for places."""
        for chosen in value.values() if isinstance(value, dict) else []:
            is_list = isinstance(chosen, list) and all(
                isinstance(place, int) and not isinstance(place, bool) and 0 <= place < 2**31
                for place in chosen
            )
            if not is_list and not isinstance(chosen, (dict, Span)):
                raise ValueError("each axis takes a list of whole numbers from 0, or a start and a stop")
        return value


class TraceRequest(Message):
    """Exactly one of `prompt`, `messages`, `token_ids`. `max_new_tokens` 0 records the prompt alone."""

    model_id: str = Field(min_length=1, max_length=1000)
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    token_ids: list[int] | None = None
    control_tokens: bool = Field(
        default_factory=lambda: True,
        description="whether the names of control tokens in the prompt are such; in messages they are always text",
    )
    max_new_tokens: int = Field(default=0, ge=0, le=1_000_000)
    sampling: Sampling = Sampling()
    stop: Annotated[list[str], AfterValidator(check_stops)] = Field(
        default_factory=list, max_length=MOST_STOPS
    )
    interventions: list[Intervention] = Field(default_factory=list, max_length=64)


Filter = Literal[
    "logit_bias",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "constraint",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
]
Pruner = Literal["constraint", "top_k", "top_p", "min_p", "typical_p"]


class Stage(Message):
    """A filter that is on, and the whole distribution after it."""

    filter: Filter
    kept: int = Field(description="how many tokens are possible after it")
    entropy_bits: float


class Candidate(Message):
    """A possible next token, before and after the filters."""

    token: Token
    logit: float
    probability: float = Field(description="softmax of the model's own logits")
    filtered_probability: float = Field(description="after all filters; 0 = pruned")
    stages: list[float] = Field(description="its probability after each of the distribution's stages")
    pruned_by: Pruner | None = None


class Distribution(Message):
    """The next-token distribution at one position, best first, with what is not listed summed.

    Listed are the most probable tokens before the filters, pruned ones too, and those after.
    """

    pos: int
    entropy_bits: float
    stages: list[Stage] = Field(description="the filters that are on, in their order")
    candidates: list[Candidate]
    rest_count: int
    rest_probability: float
    chosen: int | None = Field(default=None, description="the id that stands at pos + 1, if any")
    forced: bool = Field(default=False, description="the chosen token was asked for, not drawn")


class Step(Message):
    """One generated token (SSE event `step`)."""

    pos: int = Field(description="the position the new token takes")
    token: Token
    probability: float = Field(description="its probability under the distribution it was drawn from")
    model_probability: float = Field(description="its probability under the model's own distribution")
    text: str = Field(
        description="what became certain of the text with it: nothing while a character is unfinished, joined the whole"
    )


TraceStatus = Literal["queued", "running", "done", "stopped", "failed"]
TraceFinish = Literal["stop", "length", "cancelled", "context"]


class Adopted(Message):
    """The first `positions` positions of a recording are those of another, copied: the same numbers to the bit."""

    trace_id: str
    positions: int


class TraceState(Message):
    """A recording as the page sees it. `positions` counts those whose activations are recorded."""

    id: str
    model_id: str
    status: TraceStatus
    finish_reason: TraceFinish | None = None
    error: str | None = None
    tokens: list[Token]
    prompt: str = Field(
        default_factory=str,
        description="the text it was given; of messages and ids, what they read as, control tokens too",
    )
    messages: list[ChatMessage] | None = Field(
        default_factory=lambda: None, description="the conversation it was given, if it was"
    )
    prompt_count: int
    positions: int
    rewritten: int = Field(
        default_factory=int,
        description="how often all rows recorded so far were replaced, because the model read its text anew",
    )
    tokens_per_sec: float | None = None
    bytes: int = 0
    batched_difference: float | None = Field(
        None, description="largest difference between the residuals decoded and those of one whole forward"
    )
    rebuilt_difference: float | None = Field(
        default_factory=lambda: None,
        description="largest difference met where rows were made again from token ids and came out otherwise, in the "
        "cells that are kept to compare with; null where all are as first recorded",
    )
    interventions: list[Intervention] = Field(default_factory=list)
    sampling: Sampling = Field(default_factory=Sampling, description="how what is written is drawn")
    adopted: list[Adopted] = Field(
        default_factory=list,
        description="recordings this one begins with, the nearest first; known once positions are recorded",
    )


class TraceList(Message):
    traces: list[TraceState]


# --- lenses --------------------------------------------------------------------------------------


class LensCandidate(Message):
    """A token the model would write if it stopped there."""

    token: Token
    logit: float
    probability: float


class LensRow(Message):
    """What one site's residual says at one position, through the final norm and the head."""

    address: str
    block: int = Field(
        description="blocks that have written to it: 0 before the first, their number after the last"
    )
    pos: int
    entropy_bits: float
    candidates: list[LensCandidate] = Field(description="best first")


class Lens(Message):
    """The logit lens (nostalgebraist 2020): from the embeddings to the model's own prediction."""

    rows: list[LensRow]


# --- live frames ---------------------------------------------------------------------------------


class Subscribe(Message):
    """Page to server over `/api/live`: replaces the page's subscription for that recording."""

    type: Literal["subscribe"] = "subscribe"
    trace_id: str
    addresses: list[str]


class FrameArray(Message):
    """Where one array of a frame lies; values are little-endian float32 in C order."""

    address: str
    shape: list[int]
    offset: int = Field(description="bytes from the start of the payload")


class FrameHeader(Message):
    """Header of one binary frame: rows `start` to `stop` of each subscribed address."""

    trace_id: str
    start: int
    stop: int
    arrays: list[FrameArray]
