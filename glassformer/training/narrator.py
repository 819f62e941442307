"""Turns events into sentences: tense, pronouns, lead-ins and capitals. Knows no plots and asks no questions.

A pronoun is used only where the previous sentence names exactly one person (or thing) it can mean.
"""

import random
from collections.abc import Sequence

from glassformer.training import lexicon
from glassformer.training.world import Person, Place, Thing, World

PRONOUN_SHARE = 0.3  # of the places where a pronoun would be clear
FIRST_WORDS = 8  # of each list, at level 0: few enough to be told apart soon
LEAD_SHARE = 0.2  # of sentences about an event


def article(noun_phrase: str) -> str:
    return f"an {noun_phrase}" if noun_phrase[0] in "aeiou" else f"a {noun_phrase}"


def capitalize(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def known(words: Sequence[str], level: float) -> Sequence[str]:
    """The words of a list that are in use at a level: few at first, all from level 0.5 on."""
    return words[: max(FIRST_WORDS, round(len(words) * min(1.0, 2 * level)))]


class Narrator:
    def __init__(self, rng: random.Random, *, is_past: bool, level: float = 1.0) -> None:
        self.rng = rng
        self.level = level
        self.is_past = is_past
        self.world = World()
        self.sentences: list[str] = []
        self._people: Sequence[Person] = ()
        self._things: Sequence[Thing] = ()
        self._subject: Person | None = None

    def verb(self, forms: Sequence[str]) -> str:
        return forms[1] if self.is_past else forms[0]

    def plural(self, forms: tuple[str, str, str]) -> str:
        return forms[1] if self.is_past else forms[2]

    def is_are(self, *, plural: bool = False) -> str:
        if plural:
            return "were" if self.is_past else "are"
        return "was" if self.is_past else "is"

    def tensed(self, pattern: str) -> str:
        """`The sun {is|was} warm` in the tense of this tale; `{animal}` and `{role}` drawn."""
        text = pattern.replace("{animal}", self.rng.choice(lexicon.ANIMALS))
        text = text.replace("{role}", self.rng.choice(lexicon.ROLES))
        while "{" in text:
            before, rest = text.split("{", 1)
            choice, after = rest.split("}", 1)
            text = before + choice.split("|")[self.is_past] + after
        return text

    def _is_clear(self, person: Person) -> bool:
        alike = [other for other in self._people if other.is_woman == person.is_woman]
        return alike == [person] and self.rng.random() < PRONOUN_SHARE

    def subject(self, person: Person) -> str:
        return person.subject if person == self._subject and self._is_clear(person) else person.name

    def indirect(self, person: Person, subject: Person) -> str:
        """`person` anywhere but as the subject; never `her` when the subject could be meant."""
        if person.is_woman == subject.is_woman:
            return person.name
        return person.object if self._is_clear(person) else person.name

    def new(self, thing: Thing) -> str:
        return article(f"{thing.adjective} {thing.noun}".strip())

    def the(self, thing: Thing) -> str:
        """`it` where clear, else `the ball` or sometimes `the red ball`."""
        if list(self._things) == [thing] and self.rng.random() < PRONOUN_SHARE:
            return "it"
        return self.named(thing)

    def named(self, thing: Thing) -> str:
        with_adjective = thing.adjective and self.rng.random() < 0.2
        return f"the {thing.adjective} {thing.noun}" if with_adjective else f"the {thing.noun}"

    def say(
        self,
        sentence: str,
        *,
        people: Sequence[Person] = (),
        things: Sequence[Thing] = (),
        lead: bool = True,
    ) -> None:
        """Append one sentence; `people[0]` is its subject. A sentence that names nobody keeps the last ones in mind."""
        if lead and self.sentences and sentence[0] != '"' and self.rng.random() < LEAD_SHARE:
            lead_in = self.rng.choice(lexicon.LEADS if self.is_past else lexicon.LEADS_PRESENT)
            sentence = f"{lead_in} {sentence}"
        if sentence[-1] not in '.!?"':
            sentence += "."
        self.sentences.append(capitalize(sentence))
        self._people = tuple(people)
        self._things = tuple(things)
        self._subject = people[0] if people else None

    def opening(self) -> str:
        openings = lexicon.OPENINGS if self.is_past else lexicon.OPENINGS_PRESENT
        return f"{self.rng.choice(openings)} " if self.rng.random() < 0.5 else ""

    def draw_place(self, *, other_than: Place | None = None) -> Place:
        return self._draw(lexicon.PLACES, other_than)

    def draw_spot(self, *, other_than: Place | None = None) -> Place:
        return self._draw(lexicon.SPOTS, other_than)

    def _draw(self, table: dict[str, tuple[str, ...]], other_than: Place | None) -> Place:
        while True:
            options = [
                (preposition, noun) for preposition in table for noun in known(table[preposition], self.level)
            ]
            place = Place(*self.rng.choice(options))
            if place != other_than:
                return place
