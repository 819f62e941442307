"""What a client may ask to have decided: questions about an input, or which of some answers goes on from a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from glassformer.errors import BadValue
from glassformer.server.openai.response_item import read_input
from glassformer.server.openai.turn_message import Part, TurnMessage, join_parts
from glassformer.server.openai.weeded import Weeded
from glassformer.server.text_field import Text

MOST_QUESTIONS = 64
MOST_ANSWERS = 255

Words = Annotated[Text, BeforeValidator(join_parts), Field(min_length=1)]


@dataclass(frozen=True)
class Asked:
    """One question as words, with the answers it may have; `values` are what those stand for."""

    words: str
    answers: list[str]
    values: list[Any]


class Question(Part):
    name: Text | None = None
    instructions: Words

    def ask(self) -> Asked:
        """Raises BadValue."""
        raise NotImplementedError


class Predicate(Question):
    type: Literal["predicate"]

    def ask(self) -> Asked:
        words = f"Is this so: {self.instructions}\nAnswer with yes or no alone."
        return Asked(words, ["yes", "no"], [True, False])


class Option(Part):
    value: bool | Text
    description: Text | None = None

    @property
    def answer(self) -> str:
        return self.value if isinstance(self.value, str) else str(self.value).lower()


class ChoiceQuestion(Question):
    type: Literal["choice"]
    choices: list[Option] = Field(min_length=2, max_length=MOST_ANSWERS)

    def ask(self) -> Asked:
        answers = [option.answer for option in self.choices]
        words = list_options(answers, [option.description for option in self.choices])
        return Asked(f"{self.instructions}\n{words}", answers, [option.value for option in self.choices])


class Level(Part):
    label: Text
    description: Text | None = None


class ScoreQuestion(Question):
    type: Literal["score"]
    levels: list[Level] = Field(min_length=2, max_length=MOST_ANSWERS)

    def ask(self) -> Asked:
        answers = [level.label for level in self.levels]
        words = list_options(answers, [level.description for level in self.levels])
        return Asked(f"{self.instructions}\n{words}", answers, list(range(len(answers))))


def list_options(answers: list[str], descriptions: list[str | None]) -> str:
    lines = [
        f"- {answer}: {description}" if description else f"- {answer}"
        for answer, description in zip(answers, descriptions, strict=True)
    ]
    return "\n".join(["Answer with one of these alone:", *lines])


def check_answers(answers: list[str], field: str) -> None:
    """Raises BadValue."""
    if any(not answer.strip() for answer in answers):
        raise BadValue(f"{field}: an answer is empty.", field=field)
    for answer in answers:
        if answers.count(answer) > 1:
            raise BadValue(f"{field}: the answer {answer[:60]!r} is there twice.", field=field)


class DecisionRequest(Weeded):
    """OpenAI's form. `record` is our own."""

    input: Annotated[
        list[dict[str, Any]], PlainValidator(read_input, json_schema_input_type=str | list[dict[str, Any]])
    ]
    questions: list[Annotated[Predicate | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]] = (
        Field(min_length=1, max_length=MOST_QUESTIONS)
    )
    record: bool = False

    @model_validator(mode="after")
    def check_questions(self) -> DecisionRequest:
        for place, question in enumerate(self.questions):
            check_answers(question.ask().answers, f"questions.{place}")
        return self


class AnswersRequest(Weeded):
    """Our own form: which of `answers` comes after a prompt, or after a conversation."""

    prompt: Annotated[Text, Field(min_length=1)] | None = None
    messages: list[TurnMessage] | None = Field(None, min_length=1)
    answers: list[Text] = Field(min_length=2, max_length=MOST_ANSWERS)
    record: bool = False

    @model_validator(mode="after")
    def check_form(self) -> AnswersRequest:
        if (self.prompt is None) == (self.messages is None):
            raise BadValue("Exactly one of prompt and messages is needed beside answers.", field="prompt")
        check_answers(self.answers, "answers")
        return self


def choose_decision(data: Mapping[str, Any]) -> type[DecisionRequest] | type[AnswersRequest]:
    """Which of the two forms a body has."""
    return AnswersRequest if data.get("answers") is not None else DecisionRequest
