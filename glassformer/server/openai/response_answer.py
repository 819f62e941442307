"""What `/v1/responses` sends back: an answer's items, and the events that tell them while they are written.

One machine makes both: a whole answer is what its events come to.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from glassformer.conversation.written import Said
from glassformer.errors import GlassformerError, error_body
from glassformer.server.framing import json_event
from glassformer.server.openai.answer import Choice, Writing
from glassformer.server.openai.logprob import Scored, chat_logprobs
from glassformer.server.openai.response_request import ResponseRequest
from glassformer.server.openai_error import find_code

Event = tuple[str, dict[str, Any]]
KINDS = {"text": "message", "reasoning": "reasoning"}
PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_"}


def make_id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex


@dataclass
class Items:
    """The items of one answer while it is written; the last one may be open."""

    choice: Choice
    found: list[dict[str, Any]] = field(default_factory=list)
    is_open: bool = False

    def add(self, said: Said, scored: Sequence[Scored]) -> Iterator[Event]:
        """The events of what became certain."""
        if said.kind == "call":
            call = self.choice.calls[said.call]
            parts = {"call_id": call.id, "name": call.name, "arguments": ""}
            yield from self._open({"type": "function_call", **parts})
        elif said.kind == "arguments":
            self.found[-1]["arguments"] += said.text
            yield "response.function_call_arguments.delta", {**self._place(), "delta": said.text}
        else:
            yield from self._add_text(said, scored)

    def _add_text(self, said: Said, scored: Sequence[Scored]) -> Iterator[Event]:
        kind = KINDS[said.kind]
        if not self.is_open or self.found[-1]["type"] != kind:
            if not said.text and not scored:
                return
            yield from self.open_text(kind)
        part = self.found[-1]["content"][0]
        part["text"] += said.text
        if kind == "reasoning":
            yield "response.reasoning_text.delta", {**self._place(in_part=True), "delta": said.text}
            return
        logprobs = self._logprobs(scored)
        part["logprobs"] += logprobs
        yield (
            "response.output_text.delta",
            {
                **self._place(in_part=True),
                "delta": said.text,
                "logprobs": logprobs,
            },
        )

    def open_text(self, kind: str) -> Iterator[Event]:
        """A new item that is text, with its one part."""
        if kind == "reasoning":
            yield from self._open({"type": kind, "summary": [], "content": []})
            part: dict[str, Any] = {"type": "reasoning_text", "text": ""}
        else:
            yield from self._open({"type": kind, "role": "assistant", "content": []})
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield "response.content_part.added", {**self._place(in_part=True), "part": copy_part(part)}
        self.found[-1]["content"].append(part)

    def _open(self, item: dict[str, Any]) -> Iterator[Event]:
        yield from self.close(is_whole=True)
        self.found.append({"id": make_id(PREFIXES[item["type"]]), **item, "status": "in_progress"})
        self.is_open = True
        place = len(self.found) - 1
        yield "response.output_item.added", {"output_index": place, "item": copy_item(self.found[-1])}

    def close(self, *, is_whole: bool) -> Iterator[Event]:
        """End the item that is open, if one is."""
        if not self.is_open:
            return
        self.is_open = False
        item = self.found[-1]
        item["status"] = "completed" if is_whole else "incomplete"
        if item["type"] == "function_call":
            told = {"name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", {**self._place(), **told}
        else:
            part = item["content"][0]
            name = "reasoning_text" if item["type"] == "reasoning" else "output_text"
            told = {key: part[key] for key in ("text", "logprobs") if key in part}
            yield f"response.{name}.done", {**self._place(in_part=True), **told}
            yield "response.content_part.done", {**self._place(in_part=True), "part": copy_part(part)}
        yield "response.output_item.done", {"output_index": len(self.found) - 1, "item": copy_item(item)}

    def _place(self, *, in_part: bool = False) -> dict[str, Any]:
        place: dict[str, Any] = {"item_id": self.found[-1]["id"], "output_index": len(self.found) - 1}
        return {**place, "content_index": 0} if in_part else place

    def _logprobs(self, scored: Sequence[Scored]) -> list[dict[str, Any]]:
        if self.choice.texts is None:
            return []
        told = chat_logprobs(scored, self.choice.texts)
        for one in told:  # a list is a list in this call, of a control token too
            for entry in (one, *one["top_logprobs"]):
                entry["bytes"] = entry["bytes"] or []
        return told


def copy_part(part: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, list) else value for key, value in part.items()}


def copy_item(item: dict[str, Any]) -> dict[str, Any]:
    """The item as it stands now; it goes on changing."""
    return {
        key: [copy_part(part) for part in value] if isinstance(value, list) else value
        for key, value in item.items()
    }


@dataclass
class ResponseAnswer:
    """The answer to one request. `keep` is given it when it is whole."""

    body: ResponseRequest
    writing: Writing
    keep: Callable[[dict[str, Any]], None]
    id: str = field(default_factory=lambda: make_id("resp_"))
    created_at_secs: int = field(default_factory=lambda: int(time.time()))
    # Of the events so far.
    count: int = 0

    def __post_init__(self) -> None:
        self.items = Items(self.writing.choices[0])

    async def collect(self) -> dict[str, Any]:
        """The whole answer at once."""
        async for _ in self._events():
            pass
        return self.finish()

    async def stream(self) -> AsyncIterator[str]:
        """The answer in events as it is written."""
        for name in ("response.created", "response.in_progress"):
            yield self.tell(name, {"response": self.describe("in_progress")})
        async for name, fields in self._events():
            yield self.tell(name, fields)
        whole = self.finish()
        yield self.tell(f"response.{whole['status']}", {"response": whole})

    async def _events(self) -> AsyncIterator[Event]:
        choice = self.writing.choices[0]
        async for _, token in self.writing.steps:
            said, scored = choice.add(token)
            for one in said or ([Said("text")] if scored else []):
                for event in self.items.add(one, scored if one.kind == "text" else []):
                    yield event
                scored = [] if one.kind == "text" else scored
        if not self.items.found:
            for event in self.items.open_text("message"):
                yield event
        for event in self.items.close(is_whole=self.is_whole):
            yield event

    @property
    def is_whole(self) -> bool:
        """Whether it was ended rather than cut off."""
        choice = self.writing.choices[0]
        return choice.reason == "stop" and all(call.is_whole for call in choice.calls)

    def finish(self) -> dict[str, Any]:
        """The response as it is answered, which is then kept."""
        found = self.describe("completed" if self.is_whole else "incomplete")
        self.keep(found)
        return found

    def tell(self, kind: str, fields: dict[str, Any]) -> str:
        event = json_event({"type": kind, "sequence_number": self.count, **fields}, name=kind)
        self.count += 1
        return event

    def tell_fault(self, error: Exception) -> str:
        """An error in the middle of a stream, as its last events."""
        sentence = error_body(error)["error"]
        code = (find_code(error) if isinstance(error, GlassformerError) else None) or "server_error"
        field = getattr(error, "field", None)
        told = self.tell("error", {"code": code, "message": sentence, "param": field})
        failed = {**self.describe("failed"), "error": {"code": "server_error", "message": sentence}}
        return told + self.tell("response.failed", {"response": failed})

    def describe(self, status: str) -> dict[str, Any]:
        """The response with what there is of it."""
        body, choice = self.body, self.writing.choices[0]
        is_over = status in ("completed", "incomplete")
        usage = {
            "input_tokens": self.writing.prompt_count,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": choice.count,
            "output_tokens_details": {"reasoning_tokens": choice.reasoning_count},
            "total_tokens": self.writing.prompt_count + choice.count,
        }
        usual = body.left_out(self.writing.usual_sampling)
        chosen = body.text.format
        form: dict[str, Any] = {"type": "text"}
        if chosen is not None:
            form = {"type": chosen.type}
            if chosen.type == "json_schema":
                form |= {"name": chosen.name or "answer", "schema": chosen.schema_wanted, "strict": True}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at_secs,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata,
            "model": self.writing.model_id,
            "output": [copy_item(item) for item in self.items.found],
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": body.reasoning.model_dump(),
            "store": body.store,
            "temperature": usual.get("temperature", body.temperature),
            "text": {"format": form},
            "tool_choice": "auto" if body.tool_choice is None else body.tool_choice,
            "tools": [{"strict": True, "parameters": None, **tool} for tool in body.tools],
            "top_logprobs": body.top_logprobs,
            "top_p": usual.get("top_p", body.top_p),
            "truncation": body.truncation,
            "usage": usage if is_over else None,
        }
