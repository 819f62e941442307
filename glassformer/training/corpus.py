"""The corpus of the tales: an endless stream of documents, each a pure function of (stream, index).

Held-out documents are those whose text hashes to 0 modulo HELD_OUT_ONE_IN; the training stream skips them, so the
two can never share a document. About 5k documents a second on one core.
"""

import hashlib
import random
from collections.abc import Iterator

from glassformer.training import event, lexicon, plot, question
from glassformer.training.document import ASSISTANT, EOS, USER, Answer, Document, Form, Question
from glassformer.training.narrator import Narrator
from glassformer.training.world import Person, Thing

HELD_OUT_ONE_IN = 50
# Shares of the documents; those left over are stories told on request, or told with no question.
INLINE_SHARE, CHAT_SHARE = 0.55, 0.3
TELLING_INLINE_SHARE, TELLING_CHAT_SHARE = 0.4, 0.2  # once a model is to learn telling
ANTHOLOGY_SHARE = 0.04  # of all, within the inline ones: they alone reach the far end of the context
ANTHOLOGY_CHARS = 930  # at most 250 tokens


def is_held_out(document: Document) -> bool:
    return (
        int.from_bytes(hashlib.blake2b(document.text.encode(), digest_size=4).digest(), "big")
        % HELD_OUT_ONE_IN
        == 0
    )


def tell(
    rng: random.Random, *, level: float, cast: plot.Cast | None = None
) -> tuple[str, Narrator, plot.Cast]:
    """One story: its shape, how it was told (with its world), and who was in it."""
    tale = Narrator(rng, is_past=rng.random() < 0.5, level=level)
    cast = cast or plot.Cast(rng, level=level)
    shape = plot.tell(tale, cast, level)
    return shape, tale, cast


class Draft:
    """Text under construction, remembering where the answers are."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.answers: list[Answer] = []

    def answer(self, asked: Question, text: str, form: Form) -> None:
        start = len(self.text)
        self.text += text
        self.answers.append(Answer(asked, form, start, len(self.text)))


def write(rng: random.Random, *, level: float = plot.FULL_LEVEL, is_telling: bool = False) -> Document:
    """One document: a story with questions inside or after it, a chat about a story, or a story on request.

    `is_telling` asks for more of the last.
    """
    inline, chat = (TELLING_INLINE_SHARE, TELLING_CHAT_SHARE) if is_telling else (INLINE_SHARE, CHAT_SHARE)
    draw = rng.random()
    if draw < ANTHOLOGY_SHARE:
        return _anthology(rng, level)
    if draw < inline:
        return _inline(rng, level)
    if draw < inline + chat:
        return _chat(rng, level)
    return _request(rng, level) if rng.random() < 0.7 else _plain(rng, level)


def _inline(rng: random.Random, level: float) -> Document:
    shape, tale, cast = tell(rng, level=level)
    story = " ".join(tale.sentences)
    page = Draft(story)
    if rng.random() < 0.12 and (asked := question.who_has(tale.world, rng)):
        role = rng.choice(lexicon.ROLES)
        page.text += f' "{asked.text}" {tale.verb(lexicon.ASK[0])} the {role}. "'
        page.answer(asked, f"{asked.short[:-1]} has", "quoted")
        page.text += f' it," {tale.verb(lexicon.SAY[0])} everyone.'
    for asked in question.ask(tale.world, rng, number=rng.randint(2, 3)):
        page.text += f" {asked.text}"
        page.answer(asked, f" {asked.short}", "inline")
    return _finish(page, shape, cast, story)


def _anthology(rng: random.Random, level: float) -> Document:
    """Story after story, each with its questions, until the context is almost full."""
    page = Draft()
    people: list[str] = []
    while True:
        _, tale, cast = tell(rng, level=level)
        story = " ".join(tale.sentences)
        before, answers = page.text, len(page.answers)
        page.text += ("\n\n" if page.text else "") + story
        for asked in question.ask(tale.world, rng, number=rng.randint(1, 2)):
            page.text += f" {asked.text}"
            page.answer(asked, f" {asked.short}", "inline")
        if len(page.text) > ANTHOLOGY_CHARS:
            page.text, page.answers = before, page.answers[:answers]
            return Document("anthology", page.text + EOS, tuple(page.answers), tuple(people), page.text)
        people += question.people_of(cast.people)


def _chat(rng: random.Random, level: float) -> Document:
    shape, tale, cast = tell(rng, level=level)
    story = " ".join(tale.sentences)
    page = Draft(f"{USER}{story} ")
    for index, asked in enumerate(question.ask(tale.world, rng, number=rng.randint(1, 4))):
        page.text += f"{USER if index else ''}{asked.text}{ASSISTANT}"
        page.answer(asked, f"{asked.full}{EOS}", "chat")
    if not page.answers:
        return _finish(Draft(story), shape, cast, story)
    return Document(shape, page.text, tuple(page.answers), question.people_of(cast.people), story)


REQUESTS = (
    "Tell me a story about {}.",
    "Write a story about {}.",
    "Please tell me a short story about {}.",
    "Tell a tale of {}.",
    "I want a story about {}.",
    "Can you tell me a story about {}?",
)


def _wish(rng: random.Random, level: float) -> tuple[str, tuple[Person, ...], tuple[Thing, ...]]:
    """What a request names, and who and what that is."""
    wanted: list[str] = []
    people: tuple[Person, ...] = ()
    things: tuple[Thing, ...] = ()
    draw = rng.random()
    if draw < 0.85:
        people = (plot.draw_person(rng, level=level),)
        wanted.append(people[0].name)
    if draw > 0.2:
        noun = plot.draw_thing(rng, level=level).noun
        things = (Thing(noun, rng.choice(lexicon.ADJECTIVES) if rng.random() < 0.6 else ""),)
        wanted.append(f"a{'n' if noun[0] in 'aeiou' else ''} {noun}")
    return " and ".join(wanted), people, things


def requests(seed: int, number: int, *, level: float) -> list[tuple[str, tuple[str, ...]]]:
    """(request for a story, the names and nouns that the story must have), of a stream of its own."""
    rng = random.Random(f"tales/requests/{seed}")
    drawn = [(rng.choice(REQUESTS), *_wish(rng, level)) for _ in range(number)]
    return [
        (request.format(wanted), (*(p.name for p in people), *(t.noun for t in things)))
        for request, wanted, people, things in drawn
    ]


def _request(rng: random.Random, level: float) -> Document:
    wanted, people, things = _wish(rng, level)
    while True:
        cast = plot.Cast(rng, level=level, people=people, things=things)
        shape, tale, cast = tell(rng, level=level, cast=cast)
        story = " ".join(tale.sentences)
        if all(word in story for word in (*(p.name for p in people), *(thing.noun for thing in things))):
            break
    story = _end(tale, cast, story)
    text = f"{USER}{rng.choice(REQUESTS).format(wanted)}{ASSISTANT}{story}{EOS}"
    return Document(shape, text, (), question.people_of(cast.people), story)


def _plain(rng: random.Random, level: float) -> Document:
    shape, tale, cast = tell(rng, level=level)
    story = _end(tale, cast, " ".join(tale.sentences))
    if cast.things and cast.people[0].name in story and rng.random() < 0.5:
        title = f"{cast.people[0].name} and the {cast.things[0].noun}"
        return _finish(Draft(f"{title}\n\n{story}"), shape, cast, story)
    return _finish(Draft(story), shape, cast, story)


def _end(tale: Narrator, cast: plot.Cast, story: str) -> str:
    """The story, perhaps with an ending."""
    if tale.rng.random() < 0.6:
        event.end(tale, people=sum(person.name in story for person in cast.people))
    return " ".join(tale.sentences)


def _finish(page: Draft, shape: str, cast: plot.Cast, story: str) -> Document:
    return Document(shape, page.text + EOS, tuple(page.answers), question.people_of(cast.people), story)


def training_documents(
    seed: int, step: int, *, level: float = plot.FULL_LEVEL, is_telling: bool = False
) -> Iterator[Document]:
    """The endless documents of one training step."""
    rng = random.Random(f"tales/{seed}/{step}")
    while True:
        document = write(rng, level=level, is_telling=is_telling)
        if not is_held_out(document):
            yield document


def held_out_documents(seed: int, number: int, *, level: float = plot.FULL_LEVEL) -> list[Document]:
    """The first `number` held-out documents of this seed."""
    rng = random.Random(f"tales/held-out/{seed}")
    documents: list[Document] = []
    while len(documents) < number:
        document = write(rng, level=level)
        if is_held_out(document):
            documents.append(document)
    return documents
