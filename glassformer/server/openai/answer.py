"""What is sent back: a chat's and a completion's choices, whole or in chunks, and the stream's lines.

Only `data:` lines: the official clients fail on named events.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
    reason: Literal["stop", "length"] = "length"
    count: int = 0

    def add(self, token: DecodedToken) -> tuple[str, list[Scored]]:
        """The text that `token` brings, and the tokens that are shown with it."""
        self.count += 1
        if token.finish_reason == "stop":
            self.reason = "stop"
        return token.text, self.alignment.add(token) if self.alignment else []


class Shape(Protocol):
    """How one call's choices look. All parts of a choice but its index."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]: ...

    def opening(self, choice: Choice) -> dict[str, Any] | None: ...

    def piece(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]: ...

    def ending(self, choice: Choice) -> dict[str, Any]: ...


class ChatShape:
    id_prefix, whole_object, chunk_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def whole(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "message": message,
            "logprobs": self.logprobs(choice, tokens),
            "finish_reason": choice.reason,
        }

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        delta = {"role": "assistant", "content": ""}
        return {"delta": delta, "logprobs": None, "finish_reason": None}

    def piece(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]:
        logprobs = self.logprobs(choice, tokens)
        return {"delta": {"content": text}, "logprobs": logprobs, "finish_reason": None}

    def ending(self, choice: Choice) -> dict[str, Any]:
        return {"delta": {}, "logprobs": None, "finish_reason": choice.reason}

    def logprobs(self, choice: Choice, tokens: Sequence[Scored]) -> dict[str, Any] | None:
        if choice.texts is None:
            return None
        return {"content": chat_logprobs(tokens, choice.texts), "refusal": None}


class CompletionShape:
    id_prefix, whole_object, chunk_object = "cmpl-", "text_completion", "text_completion"

    def whole(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]:
        return {
            "text": choice.echoed + text,
            "logprobs": self.logprobs(choice, [*choice.echoed_tokens, *tokens]),
            "finish_reason": choice.reason,
        }

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        return self.piece(choice, choice.echoed, choice.echoed_tokens) if choice.echoed else None

    def piece(self, choice: Choice, text: str, tokens: Sequence[Scored]) -> dict[str, Any]:
        return {"text": text, "logprobs": self.logprobs(choice, tokens), "finish_reason": None}

    def ending(self, choice: Choice) -> dict[str, Any]:
        return {"text": "", "logprobs": None, "finish_reason": choice.reason}

    def logprobs(self, choice: Choice, tokens: Sequence[Scored]) -> dict[str, Any] | None:
        return None if choice.texts is None else completion_logprobs(tokens, choice.texts)


@dataclass
class Answer:
    """Everything about one request's answer but the tokens, which `steps` gives by the index of their choice."""

    shape: Shape
    model_id: str
    fingerprint: str
    choices: list[Choice]
    steps: AsyncIterator[tuple[int, DecodedToken]]
    prompt_count: int
    id: str = field(init=False)
    created_at_secs: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = self.shape.id_prefix + uuid.uuid4().hex

    async def collect(self) -> dict[str, Any]:
        """The whole answer at once."""
        texts: list[list[str]] = [[] for _ in self.choices]
        tokens: list[list[Scored]] = [[] for _ in self.choices]
        async for index, token in self.steps:
            text, shown = self.choices[index].add(token)
            texts[index].append(text)
            tokens[index] += shown
        found = [
            {"index": choice.index, **self.shape.whole(choice, "".join(texts[i]), tokens[i])}
            for i, choice in enumerate(self.choices)
        ]
        return {**self.head(self.shape.whole_object), "choices": found, "usage": self.usage()}

    async def stream(self, *, has_usage: bool) -> AsyncIterator[str]:
        """The answer in events as it is written. Each choice is opened, continued and ended by chunks of its own."""
        empty = {"usage": None} if has_usage else {}
        for choice in self.choices:
            opening = self.shape.opening(choice)
            if opening is not None:
                yield self.chunk(choice, opening, empty)
        ended = set()
        async for index, token in self.steps:
            choice = self.choices[index]
            text, shown = choice.add(token)
            if text or shown:
                yield self.chunk(choice, self.shape.piece(choice, text, shown), empty)
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
            "model": self.model_id,
            "system_fingerprint": self.fingerprint,
        }

    def chunk(self, choice: Choice, parts: dict[str, Any], usage: dict[str, None]) -> str:
        head = self.head(self.shape.chunk_object)
        return line({**head, "choices": [{"index": choice.index, **parts}], **usage})

    def usage(self) -> dict[str, int]:
        written = sum(choice.count for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_count,
            "completion_tokens": written,
            "total_tokens": self.prompt_count + written,
        }


def line(value: object) -> str:
    return event(json.dumps(value, allow_nan=False))


def fault_event(error: Exception) -> str:
    """An error in the middle of a stream, as its last line."""
    body = error_body(error)
    status = openai_status(find_status(error)) if isinstance(error, GlassformerError) else 500
    return line(openai_body(body["error"], status, field=body.get("field"), code=find_code(error)))
