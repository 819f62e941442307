"""One document of the corpus: its text, and the truth about it. Knows no grammar and no tokens."""

from dataclasses import dataclass
from typing import Literal

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, USER, ASSISTANT)

Form = Literal["inline", "quoted", "chat"]


@dataclass(frozen=True)
class Question:
    """A question about the story so far, with its answer in the short and in the full form."""

    kind: str
    text: str
    short: str
    """As written behind the question inside a story: `Tom.`"""
    full: str
    """As the assistant says it: `Tom has the ball.`"""


@dataclass(frozen=True)
class Answer:
    """Where in the text a question is answered: `text[start:stop]` is what a reader of the text before it must say."""

    question: Question
    form: Form
    start: int
    stop: int


@dataclass(frozen=True)
class Document:
    shape: str
    text: str
    """Without the leading `<|bos|>`, which the tokenizer adds."""
    answers: tuple[Answer, ...]
    people: tuple[str, ...]
    story: str
    """The text of the story alone, without the questions after it."""
