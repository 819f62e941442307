"""A model's chat template at work: conversations as the text that the model reads.

The template comes with the model and is nobody's trusted code: it runs in jinja's sandbox, and what it loops, calls and
writes is counted (`bounded.py`). What it says of a conversation it does not take is passed on in its own words; what
goes wrong in it is told as its fault.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jinja2

from glassformer.conversation.bounded import Refusal, compile_template, render_bounded
from glassformer.conversation.budget import Exhausted
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import (
    compile_names,
    encode_marked,
    find_control_names,
    mark_names,
    unmark,
)
from glassformer.errors import BadValue

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What templates call the reasoning before an answer; who wrote the first template of a kind chose the name.
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
# Stands where the last message is cut off that the model goes on with; a noncharacter as the marks are.
CUT = "\ufdd2"
LONGEST_REASON = 240
# What a template is asked to pass on, to see where it looks for it.
PROBE = "glassformer"


class ChatTemplate:
    """The chat template of one tokenizer. Any thread; `lock` is held while the tokenizer encodes."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, lock: threading.Lock | None = None) -> None:
        self.tokenizer = tokenizer
        self.lock = lock or threading.Lock()
        self._names: dict[str, re.Pattern[str] | None] = {}
        source = getattr(tokenizer, "chat_template", None)
        self.sources: dict[str, str] = (
            dict(source) if isinstance(source, Mapping) else {"default": str(source)}
        )

    def choose_source(self, *, has_tools: bool) -> str:
        """The template's text, of several that for tools or the default one. Raises BadValue where there is none."""
        if has_tools and "tool_use" in self.sources:
            return self.sources["tool_use"]
        if "default" not in self.sources:
            names = ", ".join(sorted(self.sources))
            raise BadValue(
                f"This model has chat templates by name ({names}) and none of them is the default one.",
                field="messages",
            )
        return self.sources["default"]

    def encode(self, conversation: Conversation) -> list[int]:
        """The ids of a conversation. Raises BadValue."""
        return self.encode_rendered(self.render(conversation))

    def encode_rendered(self, text: str) -> list[int]:
        """The ids of what `render` gave."""
        with self.lock:
            return encode_marked(self.tokenizer, text)

    def render(self, conversation: Conversation) -> str:
        """The conversation as marked text: names of control tokens in what it says are marked, for they are text.

        Raises BadValue for what the template refuses, with its reason, or fails on.
        """
        source = self.choose_source(has_tools=bool(conversation.tools))
        messages = conversation.messages
        if conversation.continues:
            messages = open_last(messages)
        names = self.find_names(source)
        marked = [mark_message(with_reasoning(message), names, self.special_names) for message in messages]
        values = {
            **self.tokenizer.special_tokens_map,
            **mark_names(conversation.variables, names),
            "messages": [as_parts(message) for message in marked] if reads_parts(source) else marked,
            "tools": mark_names(conversation.tools, names) or None,
            "documents": None,
            "add_generation_prompt": conversation.prompts and not conversation.continues,
        }
        text = run_template(source, values)
        if conversation.continues:
            before, found, _ = text.rpartition(CUT)
            if not found:
                raise BadValue(
                    "The model's chat template does not let its last message go on.", field="messages"
                )
            return before
        return text

    def find_names(self, source: str) -> re.Pattern[str] | None:
        """The names that only the template may spell; found once for each of its texts."""
        if source not in self._names:
            self._names[source] = find_control_names(self.tokenizer, source)
        return self._names[source]

    @cached_property
    def special_names(self) -> re.Pattern[str] | None:
        """The names of special tokens."""
        return compile_names(
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        )


def mark_message(
    message: dict[str, Any], names: re.Pattern[str] | None, special: re.Pattern[str] | None
) -> dict[str, Any]:
    """A message with what it says marked. In what the model itself wrote only special tokens' names are text.

    What opens and closes its reasoning or a call is no special token in many models, and comes back as it wrote it.
    """
    chosen = special if message.get("role") == "assistant" else names
    return {key: value if key == "role" else mark_names(value, chosen) for key, value in message.items()}


def with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its reasoning under every name that templates read it by."""
    found = next((message[name] for name in REASONING_FIELDS if message.get(name)), None)
    kept = {key: value for key, value in message.items() if key not in REASONING_FIELDS}
    return kept if found is None else {**kept, **dict.fromkeys(REASONING_FIELDS, found)}


def open_last(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the place marked where the last one is to go on."""
    last = messages[-1]
    return [*messages[:-1], {**last, "content": f"{last.get('content') or ''}{CUT}"}]


def run_template(source: str, values: Mapping[str, Any]) -> str:
    """What the template writes. Raises BadValue naming `messages`."""
    try:
        template = compile_template(source)
        return render_bounded(template, values)
    except Refusal as refusal:
        reason = shorten(refusal.message or "it gives no reason")
        raise BadValue(
            f"The model's chat template refuses these messages: {reason}", field="messages"
        ) from refusal
    except Exhausted as exc:
        raise BadValue(f"The model's chat template was stopped: {exc}.", field="messages") from exc
    except jinja2.TemplateSyntaxError as exc:
        reason = shorten(str(exc.message or "it cannot be read"))
        raise BadValue(
            f"The model's chat template has a fault of its own and cannot be read: {reason}", field="messages"
        ) from exc
    except Exception as exc:  # whatever the template's code runs into
        reason = shorten(f"{type(exc).__name__}: {exc}")
        raise BadValue(
            f"The model's chat template has a fault of its own, or does not know messages like these: {reason}",
            field="messages",
        ) from exc


@lru_cache(maxsize=64)
def reads_parts(source: str) -> bool:
    """Whether a template looks for a message's text in parts alone, as those of models of pictures do.

    It passes over plain text without a word, or fails on it; so it is asked for a message of either kind.
    """
    asked = {"role": "user", "content": PROBE}
    found = []
    for message in (asked, as_parts(asked)):
        values = {"messages": [message], "add_generation_prompt": True, "tools": None, "documents": None}
        try:
            found.append(run_template(source, {"bos_token": "", "eos_token": "", **values}))
        except BadValue:
            found.append("")
    plain, parted = found
    return PROBE not in plain and PROBE in parted


def as_parts(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its text as its one part."""
    content = message.get("content")
    if not isinstance(content, str):
        return message
    return {**message, "content": [{"type": "text", "text": content}]}


def shorten(reason: str) -> str:
    """A template's or a library's words as the end of one sentence, without what is no matter of who asks."""
    words = " ".join(re.sub(r"(?:\w+://|/|0x[0-9a-f]{6})\S+", "...", unmark(reason)).split())
    words = words[:LONGEST_REASON].rstrip()
    return words if words.endswith((".", "!", "?")) else f"{words}."
