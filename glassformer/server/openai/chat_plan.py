"""From a conversation with tools to what the model reads, what holds its answer, and what takes the answer apart.

Used by every call that answers a conversation. Imports nothing heavy by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from glassformer.conversation.answer_form import AnswerForm
from glassformer.conversation.call_format import DEFAULT
from glassformer.conversation.call_grammar import Tool, Unheld, write_call_grammar, write_held_grammar
from glassformer.conversation.conversation import Conversation
from glassformer.conversation.marked import unmark
from glassformer.conversation.telling import has_calls, merge_system, tell
from glassformer.conversation.written import AnswerReader
from glassformer.errors import BadValue
from glassformer.protocol.messages import Constraint
from glassformer.server.openai.tool_choice import ToolUse

if TYPE_CHECKING:
    from glassformer.loading.loaded import LoadedModel


@dataclass(frozen=True)
class ChatPlan:
    """A chat that is ready to be written. `form` is None where an answer is nothing but text."""

    ids: list[int]
    form: AnswerForm | None = None
    tools: dict[str, Tool] = field(default_factory=dict)
    constraint: Constraint | None = None
    is_reasoning: bool = False
    # The conversation as the template wrote it.
    rendered: str = ""

    def make_reader(self) -> AnswerReader | None:
        """What takes one answer apart; None where there is nothing to take apart."""
        return None if self.form is None else AnswerReader(self.form, self.tools, self.is_reasoning)


def plan_chat(
    loaded: LoadedModel, conversation: Conversation, use: ToolUse, constraint: Constraint | None
) -> ChatPlan:
    """The plan of one chat; `constraint` is what its text must be. Raises BadValue, naming the field. For a thread."""
    template = loaded.chat_template
    reasoning, text_open = loaded.reasoning_marks
    if use.offered or has_calls(conversation):
        calls, rendered = loaded.call_format, render_told(loaded, conversation, use)
    else:
        calls, rendered = DEFAULT, template.render(conversation)
    ids = loaded.check_rendered(template.encode_rendered(rendered))
    if not use.offered and reasoning is None and not text_open:
        return ChatPlan(ids, constraint=constraint, rendered=unmark(rendered))
    form = AnswerForm(calls, reasoning, text_open)
    is_reasoning = reasoning is not None and rendered.rstrip().endswith(unmark(reasoning.open))
    tools = {tool.name: tool for tool in use.offered}
    held = hold(loaded, form, use, constraint, is_reasoning=is_reasoning)
    return ChatPlan(ids, form, tools, held, is_reasoning, unmark(rendered))


def render_told(loaded: LoadedModel, conversation: Conversation, use: ToolUse) -> str:
    """The conversation with its tools, in the first user's message where the template knows no system."""
    told = tell(conversation, loaded.call_format, use.told)
    try:
        return loaded.chat_template.render(told)
    except BadValue:
        merged = merge_system(told.messages)
        if merged == told.messages or conversation.messages[0]["role"] == "system":
            raise
        return loaded.chat_template.render(replace(told, messages=merged))


def hold(
    loaded: LoadedModel, form: AnswerForm, use: ToolUse, constraint: Constraint | None, *, is_reasoning: bool
) -> Constraint | None:
    """What the whole answer must be. Raises BadValue."""
    from glassformer.engine.constraint import read_vocabulary

    if not use.offered:
        if constraint is None or not is_reasoning or constraint.grammar is not None:
            return constraint
        # The prompt has opened the reasoning: what is asked for comes after it.
        return Constraint(grammar=write_held_grammar(form, constraint, read_vocabulary(loaded)))
    if constraint is not None and constraint.json_schema is None and not use.required:
        raise BadValue("Beside tools that may be called, only a JSON schema can be asked for.", field="tools")
    try:
        grammar = write_call_grammar(
            form,
            use.offered,
            read_vocabulary(loaded),
            required=use.required,
            several=use.several,
            text_schema=None if constraint is None else constraint.json_schema,
            is_reasoning=is_reasoning,
        )
    except Unheld as unheld:
        where = f"{use.fields[unheld.tool]}.{unheld.path}"
        raise BadValue(f"{where} {unheld.reason}.", field=where) from unheld
    return Constraint(grammar=grammar)
