"""The corpus is pinned: what it says, how it is mixed, and that its questions cannot be guessed."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from glassformer.training import corpus, lexicon, plot, question
from glassformer.training.document import ASSISTANT, Answer, Document
from glassformer.training.narrator import Narrator

NUMBER = 6000


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    rng = random.Random(0)
    return [corpus.write(rng) for _ in range(NUMBER)]


def answers(documents: list[Document]) -> list[tuple[Document, Answer]]:
    return [(document, answer) for document in documents for answer in document.answers]


def test_the_same_seed_writes_the_same_documents():
    first = [next(corpus.training_documents(3, step)).text for step in range(20)]
    assert first == [next(corpus.training_documents(3, step)).text for step in range(20)]
    assert len(set(first)) == 20
    digest = hashlib.sha256(
        "\n".join(document.text for document in corpus.held_out_documents(0, 50)).encode()
    )
    assert digest.hexdigest()[:16] == "b82bdd651e319a1e"


def test_training_never_sees_a_held_out_document():
    stream = corpus.training_documents(0, 0)
    trained = {next(stream).text for _ in range(2000)}
    held_out = corpus.held_out_documents(0, 40)
    assert all(map(corpus.is_held_out, held_out))
    assert not trained & {document.text for document in held_out}


def test_the_lexicon_is_large_and_its_lists_do_not_overlap():
    assert len(set(lexicon.WOMEN) | set(lexicon.MEN)) == len(lexicon.WOMEN) + len(lexicon.MEN) >= 160
    assert len(set(lexicon.OBJECTS)) == len(lexicon.OBJECTS) >= 280
    assert len(set(lexicon.ADJECTIVES)) == len(lexicon.ADJECTIVES) >= 90
    places = [noun for nouns in lexicon.PLACES.values() for noun in nouns]
    spots = [noun for nouns in lexicon.SPOTS.values() for noun in nouns]
    assert len(set(places)) == len(places) >= 50
    assert not set(places) & set(spots)
    assert not set(lexicon.OBJECTS) & (set(places) | set(spots))
    transfers = (
        lexicon.GIVE,
        lexicon.TAKE,
        lexicon.FIND,
        lexicon.OWN,
        lexicon.PUT,
        lexicon.LOSE,
        lexicon.CARRY,
    )
    others = (lexicon.LIKE, lexicon.WANT, lexicon.MISS, lexicon.SAY, lexicon.ASK, lexicon.ACT)
    verbs = {forms[0].split()[0] for group in (*transfers, *others) for forms in group}
    verbs |= {forms[0] for forms in lexicon.GO}
    assert len(verbs) >= 120


def test_the_documents_use_the_lexicon_and_every_shape(documents: list[Document]):
    words = set(re.findall(r"\w+", " ".join(document.text for document in documents)))
    for expected in (lexicon.WOMEN, lexicon.MEN, lexicon.OBJECTS, lexicon.ADJECTIVES):
        assert set(expected) <= words
    assert len(words) >= 1000
    shapes = Counter(document.shape for document in documents)
    assert set(shapes) == {*plot.SHAPES, *plot.LATE_SHAPES, "anthology"}
    assert all(0.02 <= count / NUMBER <= 0.2 for count in shapes.values()), shapes
    assert len({document.text for document in documents}) > 0.999 * NUMBER


def test_the_kinds_of_question_are_balanced(documents: list[Document]):
    kinds = Counter(answer.question.kind for _, answer in answers(documents))
    assert set(kinds) == set(question.KINDS)
    share = {kind: count / kinds.total() for kind, count in kinds.items()}
    assert 0.2 <= share["who_has"] <= 0.4
    assert all(share[kind] >= 0.1 for kind in question.STATE_KINDS), share
    assert all(share[kind] >= 0.03 for kind in question.KINDS), share
    forms = Counter(answer.form for _, answer in answers(documents))
    assert forms["inline"] > forms["chat"] > forms["quoted"] > 0.01 * forms.total()


def test_answers_lie_where_they_are_said_to(documents: list[Document]):
    for document, answer in answers(documents):
        text = document.text[answer.start : answer.stop]
        expected = {
            "inline": f" {answer.question.short}",
            "chat": f"{answer.question.full}<|eos|>",
            "quoted": f"{answer.question.short[:-1]} has",
        }
        assert text == expected[answer.form]
        assert answer.question.text in document.text[: answer.start]


Guess = Callable[[Document, Answer], str]


def last_named(document: Document, answer: Answer) -> str:
    return max(document.people, key=document.story.rfind)


def most_named(document: Document, answer: Answer) -> str:
    return max(document.people, key=document.story.count)


def first_named(document: Document, answer: Answer) -> str:
    return min(document.people, key=lambda name: document.story.find(name) % 10**6)


def named_after_the_thing(document: Document, answer: Answer) -> str:
    """Whoever is named next after the last mention of the thing, else the last one named."""
    thing = re.search(r"the (\w+)( now)?\?", answer.question.text)
    assert thing is not None
    mention = document.story.rfind(thing[1])
    after = {document.story.find(name, mention): name for name in document.people}
    after.pop(-1, None)
    return after[min(after)] if after else last_named(document, answer)


def named_before_the_thing(document: Document, answer: Answer) -> str:
    thing = re.search(r"the (\w+)( now)?\?", answer.question.text)
    assert thing is not None
    mention = document.story.rfind(thing[1])
    return max(document.people, key=lambda name: document.story.rfind(name, 0, mention))


@pytest.mark.parametrize(
    "guess", [last_named, most_named, first_named, named_after_the_thing, named_before_the_thing]
)
def test_who_has_it_cannot_be_guessed(documents: list[Document], guess: Guess):
    asked = [
        (document, answer)
        for document, answer in answers(documents)
        if answer.question.kind == "who_has" and document.shape != "anthology"
    ]
    right = sum(guess(document, answer) == answer.question.short[:-1] for document, answer in asked)
    assert right / len(asked) < 0.6


def test_the_curriculum_starts_with_short_stories():
    def mean_words(level: float) -> float:
        rng = random.Random(1)
        return sum(len(corpus.write(rng, level=level).text.split()) for _ in range(500)) / 500

    assert mean_words(0.0) < 0.9 * mean_words(1.0)


def test_the_late_shapes_come_in_above_level_one():
    def share(level: float, names: Iterable[str]) -> float:
        rng = random.Random(1)
        return sum(plot.draw_shape(rng, level) in names for _ in range(4000)) / 4000

    assert share(1.0, plot.LATE_SHAPES) == 0
    assert 0.09 < share(plot.APART_LEVEL, ["parting"]) < 0.13
    assert share(plot.APART_LEVEL, plot.SEVERAL_THINGS) == 0
    assert 0.2 < share(plot.FULL_LEVEL, plot.LATE_SHAPES) < 0.24
    assert 0.13 < share(plot.FULL_LEVEL, plot.SEVERAL_THINGS) < 0.17


def test_a_teller_gets_more_stories_and_fewer_questions():
    def asked(*, is_telling: bool) -> float:
        rng = random.Random(1)
        return sum(bool(corpus.write(rng, is_telling=is_telling).answers) for _ in range(1000)) / 1000

    assert asked(is_telling=True) < 0.8 * asked(is_telling=False)


def test_a_story_on_request_has_what_was_asked_for(documents: list[Document]):
    asked = [(d.text.split(ASSISTANT), d) for d in documents if ASSISTANT in d.text and not d.answers]
    assert len(asked) > 400
    for (request, story), _ in asked:
        names = set(re.findall(r"\w+", request)) & {*lexicon.WOMEN, *lexicon.MEN, *lexicon.OBJECTS}
        assert names
        assert all(name in story for name in names), request


def test_a_pronoun_is_only_used_where_one_person_fits():
    rng = random.Random(2)
    cast = plot.Cast(rng, level=1.0)
    tale = Narrator(rng, is_past=False)
    women = [person for person in cast.persons(40) if person.is_woman][:2]
    tale.say(f"{women[0].name} and {women[1].name} wait", people=women)
    assert {tale.subject(women[0]) for _ in range(50)} == {women[0].name}
    tale.say(f"{women[0].name} waits", people=women[:1])
    assert {tale.subject(women[0]) for _ in range(50)} == {women[0].name, "she"}
