"""What a model's answers are made of besides text: how it writes calls, how it marks reasoning, what opens its text."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from glassformer.conversation.call_format import QUESTION, SAID, CallFormat, read_call_format
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import CLOSE, OPEN, unmark
from glassformer.conversation.template import ChatTemplate
from glassformer.errors import BadValue

THOUGHT = "qz thought"
TAG = re.compile(r"<([^<>/\s|]+)>\s*$")
# Templates that cut the reasoning off by themselves name its end.
CUTTING = re.compile(r"""split\(\s*['"]</([^<>/\s|]+)>['"]\s*\)""")


@dataclass(frozen=True)
class Reasoning:
    """What opens and closes the reasoning before an answer, as marked text."""

    open: str
    close: str


@dataclass(frozen=True)
class AnswerForm:
    """How one model's answers are read. `text_open` stands before what is said to the user, in models with channels."""

    calls: CallFormat
    reasoning: Reasoning | None
    text_open: str = ""


def read_answer_form(template: ChatTemplate, end_names: Collection[str]) -> AnswerForm:
    """The form, read off the model's own template. Takes some tens of milliseconds."""
    reasoning, text_open = read_reasoning(template)
    return AnswerForm(read_call_format(template, end_names), reasoning, text_open)


def read_reasoning(template: ChatTemplate) -> tuple[Reasoning | None, str]:
    """What marks reasoning, if anything does, and what opens the text beside it."""
    special = template.special_names

    def mark(text: str) -> str:
        return special.sub(f"{OPEN}\\g<0>{CLOSE}", text) if special else text

    user = {"role": "user", "content": QUESTION}
    try:
        prompt = template.render(Conversation([user]))
        before_text = template.render(
            Conversation([user, {"role": "assistant", "content": SAID}], prompts=False)
        ).partition(SAID)[0]
        thinking = {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT}
        thought = template.render(Conversation([user, thinking], prompts=False))
    except BadValue:
        return None, ""
    extra = before_text[len(prompt) :] if before_text.startswith(prompt) else ""
    before, found, after = thought.partition(THOUGHT)
    middle, said, _ = after.partition(SAID)
    if found and said and middle.strip():
        text_open = extra if has_control(mark(extra)) and THOUGHT not in extra else ""
        close = middle
        if text_open and middle.endswith(text_open):
            close = middle[: -len(text_open)]
        opening = before[len(prompt) :] if before.startswith(prompt) else ""
        if not opening.strip():
            tag = TAG.search(before)
            opening = tag[0] if tag else ""
        if opening.strip():
            reasoning = Reasoning(mark(opening.strip()), mark(close.strip()))
            return reasoning, "" if unmark(reasoning.open) in text_open else mark(text_open)
    name = None
    tag = TAG.search(prompt) if not before_text.endswith(prompt[-8:]) else None
    cutting = CUTTING.search(template.choose_source(has_tools=False))
    if tag:
        name = tag[1]
    elif cutting:
        name = cutting[1]
    if name is None:
        return None, mark(extra) if has_control(mark(extra)) else ""
    return Reasoning(mark(f"<{name}>"), mark(f"</{name}>")), ""


def has_control(marked: str) -> bool:
    return OPEN in marked
