"""What is sent back: a chat's and a completion's choices, whole or in chunks, and the stream's lines.

Only `data:` lines: the official clients fail on named events.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from glassformer.conversation.written import AnswerReader, Call, Said
from glassformer.engine.generation_request import DecodedToken
from glassformer.errors import GlassformerError, error_body
from glassformer.loading.token_text import TokenTexts
from glassformer.server.error_answer import find_status
from glassformer.server.framing import event
from glassformer.server.openai.logprob import (
    Alignment,
    Scored,
    chat_logprobs,
    completion_logprobs,
)
from glassformer.server.openai_error import find_code, openai_body, openai_status

DONE = event("[DONE]")


@dataclass
class Choice:
    """One continuation while it is written. `texts` is None where no log probabilities are wanted."""

    index: int
    texts: TokenTexts | None = None
    alignment: Alignment | None = None
    echoed: str = ""
    echoed_tokens: list[Scored] = field(default_factory=list)
    # Takes the answer apart, where there is more in it than text.
    reader: AnswerReader | None = None
    # The name of a token id that is a control token, else None.
    name_control: Callable[[int], str | None] | None = None
    reason: Literal["stop", "length"] = "length"
    count: int = 0
    reasoning_count: int = 0

    def add(self, token: DecodedToken) -> tuple[list[Said], list[Scored]]:
        """What becomes certain with `token`, and the tokens that are shown with it."""
        self.count += 1
        if token.finish_reason == "stop":
            self.reason = "stop"
        shown = self.alignment.add(token) if self.alignment else []
        if self.reader is None:
            return [Said("text", token.text)] if token.text else [], shown
        was_reasoning = self.reader.is_reasoning
        said = self.reader.add(
            token.text, control=self.name_control(token.token_id) if self.name_control else None
        )
        if token.finish_reason is not None:
            said += self.reader.finish()
        self.reasoning_count += was_reasoning or self.reader.is_reasoning
        return join_said(said), shown

    @property
    def calls(self) -> list[Call]:
        return self.reader.calls if self.reader is not None else []

    @property
    def told_reason(self) -> str:
        """Why it ended, as it is told: also that it is the client's turn to do what is called for."""
        calls = self.calls
        return "tool_calls" if calls and self.reason == "stop" and calls[-1].is_whole else self.reason


def join_said(said: Sequence[Said]) -> list[Said]:
    """The same with neighbours of one kind joined."""
    joined: list[Said] = []
    for one in said:
        last = joined[-1] if joined else None
        if last is not None and one.kind != "call" and (one.kind, one.call) == (last.kind, last.call):
            joined[-1] = Said(one.kind, last.text + one.text, one.call)
        else:
            joined.append(one)
    return joined


def join_texts(said: Sequence[Said], kind: str) -> str:
    return "".join(one.text for one in said if one.kind == kind)


class Shape(Protocol):
    """How one call's choices look. All parts of a choice but its index."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, choice: Choice, said: Sequence[Said], tokens: Sequence[Scored]) -> dict[str, Any]: ...

    def opening(self, choice: Choice) -> dict[str, Any] | None: ...

    def piece(self, choice: Choice, said: Said, tokens: Sequence[Scored]) -> dict[str, Any]: ...

    def ending(self, choice: Choice) -> dict[str, Any]: ...


class ChatShape:
    id_prefix, whole_object, chunk_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def whole(self, choice: Choice, said: Sequence[Said], tokens: Sequence[Scored]) -> dict[str, Any]:
        text, reasoning = join_texts(said, "text"), join_texts(said, "reasoning")
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if reasoning:
            message["reasoning_content"] = reasoning
        if choice.calls:
            message["content"] = text or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in choice.calls
            ]
        return {
            "message": message,
            "logprobs": self.logprobs(choice, tokens),
            "finish_reason": choice.told_reason,
        }

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        delta = {"role": "assistant", "content": ""}
        return {"delta": delta, "logprobs": None, "finish_reason": None}

    def piece(self, choice: Choice, said: Said, tokens: Sequence[Scored]) -> dict[str, Any]:
        logprobs = self.logprobs(choice, tokens)
        return {"delta": self.delta(choice, said), "logprobs": logprobs, "finish_reason": None}

    def delta(self, choice: Choice, said: Said) -> dict[str, Any]:
        if said.kind == "text":
            return {"content": said.text}
        if said.kind == "reasoning":
            return {"reasoning_content": said.text}
        if said.kind == "arguments":
            return {"tool_calls": [{"index": said.call, "function": {"arguments": said.text}}]}
        call = choice.calls[said.call]
        function = {"name": call.name, "arguments": ""}
        return {"tool_calls": [{"index": said.call, "id": call.id, "type": "function", "function": function}]}

    def ending(self, choice: Choice) -> dict[str, Any]:
        return {"delta": {}, "logprobs": None, "finish_reason": choice.told_reason}

    def logprobs(self, choice: Choice, tokens: Sequence[Scored]) -> dict[str, Any] | None:
        if choice.texts is None:
            return None
        return {"content": chat_logprobs(tokens, choice.texts), "refusal": None}


class CompletionShape:
    id_prefix, whole_object, chunk_object = "cmpl-", "text_completion", "text_completion"

    def whole(self, choice: Choice, said: Sequence[Said], tokens: Sequence[Scored]) -> dict[str, Any]:
        return {
            "text": choice.echoed + join_texts(said, "text"),
            "logprobs": self.logprobs(choice, [*choice.echoed_tokens, *tokens]),
            "finish_reason": choice.reason,
        }

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        return (
            self.piece(choice, Said("text", choice.echoed), choice.echoed_tokens) if choice.echoed else None
        )

    def piece(self, choice: Choice, said: Said, tokens: Sequence[Scored]) -> dict[str, Any]:
        return {"text": said.text, "logprobs": self.logprobs(choice, tokens), "finish_reason": None}

    def ending(self, choice: Choice) -> dict[str, Any]:
        return {"text": "", "logprobs": None, "finish_reason": choice.reason}

    def logprobs(self, choice: Choice, tokens: Sequence[Scored]) -> dict[str, Any] | None:
        return None if choice.texts is None else completion_logprobs(tokens, choice.texts)


@dataclass
class Writing:
    """What is being written for one request; `steps` gives the tokens by the index of their choice."""

    model_id: str
    fingerprint: str
    choices: list[Choice]
    steps: AsyncIterator[tuple[int, DecodedToken]]
    prompt_count: int
    # How the model's makers have it sampled, where the request does not say.
    usual_sampling: Mapping[str, float]


@dataclass
class Answer:
    """What is written, as one call tells it."""

    shape: Shape
    writing: Writing
    id: str = field(init=False)
    created_at_secs: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = self.shape.id_prefix + uuid.uuid4().hex

    @property
    def choices(self) -> list[Choice]:
        return self.writing.choices

    async def collect(self) -> dict[str, Any]:
        """The whole answer at once."""
        said: list[list[Said]] = [[] for _ in self.choices]
        tokens: list[list[Scored]] = [[] for _ in self.choices]
        async for index, token in self.writing.steps:
            more, shown = self.choices[index].add(token)
            said[index] += more
            tokens[index] += shown
        found = []
        for i, choice in enumerate(self.choices):
            # Thousands of tokens with the likeliest in place of each take a while to be told.
            whole = await asyncio.to_thread(self.shape.whole, choice, said[i], tokens[i])
            found.append({"index": choice.index, **whole})
        return {**self.head(self.shape.whole_object), "choices": found, "usage": self.usage()}

    async def stream(self, *, has_usage: bool) -> AsyncIterator[str]:
        """The answer in events as it is written. Each choice is opened, continued and ended by chunks of its own."""
        empty = {"usage": None} if has_usage else {}
        for choice in self.choices:
            opening = self.shape.opening(choice)
            if opening is not None:
                yield self.chunk(choice, opening, empty)
        ended = set()
        async for index, token in self.writing.steps:
            choice = self.choices[index]
            said, shown = choice.add(token)
            for one in said or ([Said("text")] if shown else []):
                yield self.chunk(choice, self.shape.piece(choice, one, shown), empty)
                shown = []
            if token.finish_reason is not None:
                ended.add(index)
                yield self.chunk(choice, self.shape.ending(choice), empty)
        for choice in self.choices:
            if choice.index not in ended:  # nothing was to be written
                yield self.chunk(choice, self.shape.ending(choice), empty)
        if has_usage:
            yield line({**self.head(self.shape.chunk_object), "choices": [], "usage": self.usage()})
        yield DONE

    def head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created_at_secs,
            "model": self.writing.model_id,
            "system_fingerprint": self.writing.fingerprint,
        }

    def chunk(self, choice: Choice, parts: dict[str, Any], usage: dict[str, None]) -> str:
        head = self.head(self.shape.chunk_object)
        return line({**head, "choices": [{"index": choice.index, **parts}], **usage})

    def usage(self) -> dict[str, Any]:
        written = sum(choice.count for choice in self.choices)
        told: dict[str, Any] = {
            "prompt_tokens": self.writing.prompt_count,
            "completion_tokens": written,
            "total_tokens": self.writing.prompt_count + written,
        }
        if any(choice.reader is not None for choice in self.choices):
            thought = sum(choice.reasoning_count for choice in self.choices)
            told["completion_tokens_details"] = {"reasoning_tokens": thought}
        return told


def line(value: object) -> str:
    return event(json.dumps(value, allow_nan=False))


def fault_event(error: Exception) -> str:
    """An error in the middle of a stream, as its last line."""
    body = error_body(error)
    status = openai_status(find_status(error)) if isinstance(error, GlassformerError) else 500
    return line(openai_body(body["error"], status, field=body.get("field"), code=find_code(error)))
