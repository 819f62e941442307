"""Reads a told story back and says where it slips: the check of stories that a model tells freely.

Knows the sentences that `event` can write, as patterns, and keeps its own account of who holds what. It is strict: a
sentence that the grammar could not write is a slip, and so is handing over a thing that one does not have. It judges
neither style nor plot, and it forgives a pronoun whose person was named a few sentences ago. About 3k stories a second.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from glassformer.training import lexicon

NUMBERS = {word: number for number, word in enumerate(lexicon.NUMBERS)}
KINDS = ("form", "pronoun", "twice", "thing", "holder", "place", "count")
"""What a slip can be about: no sentence of the grammar in this tense; a pronoun for nobody; one person in two parts of
a sentence; a thing that is new twice, never was, or is not as it was; a thing that its giver does not have or its
finder cannot find; going to where one is, or with someone who is elsewhere; a wrong sum."""


def slips(story: str) -> list[tuple[str, str]]:
    """(kind, sentence) of every slip, read in the tense that makes fewer of them."""
    return min((Reader(is_past=is_past).read(story) for is_past in (False, True)), key=len)


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True)) + ")"


def _tensed(patterns: Iterable[str], is_past: bool) -> str:
    """`the {role} {walks|walked} past`, for any role, in one tense, without its capital."""
    choices = []
    for pattern in patterns:
        text = re.sub(r"\{(\w[^|}]*)\|([^}]*)\}", rf"{{\{2 if is_past else 1}}}", pattern)
        parts = re.split(r"[{}]", text[0].lower() + text[1:])
        known = {"animal": _any(lexicon.ANIMALS), "role": _any(lexicon.ROLES)}
        choices.append("".join(known.get(part, re.escape(part)) for part in parts))
    return f"(?:{'|'.join(choices)})"


def _table(places: dict[str, tuple[str, ...]]) -> str:
    return "(?:" + "|".join(f"{preposition} the {_any(nouns)}" for preposition, nouns in places.items()) + ")"


@cache
def _patterns(is_past: bool) -> list[tuple[re.Pattern[str], str]]:
    """(pattern of a whole sentence without its full stop, name of what it does in Reader)."""

    def verb(*groups: Sequence[Sequence[str]]) -> str:
        return _any(forms[is_past] for group in groups for forms in group)

    plural_go = _any(forms[1 if is_past else 2] for forms in lexicon.GO)
    be, are, has, gives = ("was", "were", "had", "gave") if is_past else ("is", "are", "has", "gives")
    says, asks = lexicon.SAY[0][is_past], lexicon.ASK[0][is_past]
    name, adjective, noun = (
        _any(words) for words in ((*lexicon.WOMEN, *lexicon.MEN), lexicon.ADJECTIVES, lexicon.OBJECTS)
    )
    a = f"(?P<a>{name}|she|he)"
    to = f"(?P<b>{name}|her|him)"
    b = f"(?P<b>{name})"
    named = f"the (?:(?P<like>{adjective}) )?(?P<thing>{noun})"
    what = f"(?:{named}|(?P<it>it))"
    new = f"(?:an (?=[aeiou])|a (?![aeiou]))(?:(?P<like>{adjective}) )?(?P<thing>{noun})"
    place, spot = _table(lexicon.PLACES), _table(lexicon.SPOTS)
    where = f"the (?P<place>{_any(noun for nouns in lexicon.PLACES.values() for noun in nouns)})"
    several = f"(?P<all>{name}(?:, {name})* and {name})"
    amount = rf"(?P<amount>{_any(NUMBERS)})"
    counted = rf"{amount} (?P<counted>\w+)"
    here = place.replace("(?:", "(?P<here>", 1)
    remarks = [text[:-1] + "," if text.endswith(".") else text for text in lexicon.REMARKS]
    glad = f"(?P<who>she|he) got the (?P<thing>{noun})(?: back)?"
    sorry = f"(?P<who>she|he) (?:lost|did not get) the (?P<thing>{noun})"
    gains = ("finds", "buys", "gets") if not is_past else ("found", "bought", "got")
    spends = ("loses", "sells", "eats") if not is_past else ("lost", "sold", "ate")
    forms = (
        (f"{a} {be} {here}", "stay"),
        (f"{a} {be} {here} with {b}", "stay"),
        (f"{several} {are} {here}", "stay"),
        (f"{a} {verb(lexicon.OWN)} {new}", "acquire"),
        (f"{a} {verb(lexicon.FIND)} {new}(?: {spot})?", "acquire"),
        (f"{a} {verb(lexicon.GIVE)} {what} to {to}", "give"),
        (f"{a} {verb(lexicon.GIVE)} {to} {named}", "give"),
        (f'"Here you are," {says} {a} and {gives} {named} to {b}', "give"),
        (f"{a} {verb(lexicon.TAKE)} {what} from {to}", "take"),
        (f"{a} {verb(lexicon.SWAP)} {named} for {b}'s (?P<other>{noun})", "swap"),
        (
            f"{a} {gives} {named} to {b} and (?P=b) {gives} the (?:{adjective} )?(?P<other>{noun}) to (?P=a)",
            "swap",
        ),
        (f"{a} {verb(lexicon.PUT)} {what} {spot}", "leave"),
        (f"{a} {verb(lexicon.LOSE)} {what} {place}", "leave"),
        (f"{a} {verb(lexicon.FIND)} {what}(?: (?:{spot}|{place}))?", "find"),
        (f"{a} {'picked' if is_past else 'picks'} (?P<it>it) up(?: (?:{spot}|{place}))?", "find"),
        (f"{several} {plural_go} to {where}", "go"),
        (f"{a} {verb(lexicon.GO)} to {where}", "go"),
        (f"{a} {verb(lexicon.CARRY)} {named} to {where}", "carry"),
        (f"{a} {'followed' if is_past else 'follows'} {b} to {where}", "follow"),
        (f'"Can I have {named}\\?" {asks} {a}', "name"),
        (f'"No, not today," {says} {a}', "name"),
        (f"{a} {verb(lexicon.LIKE, lexicon.WANT, lexicon.MISS)} {what}", "name"),
        (f"{a} {be} {_any(lexicon.GLAD)}(?: because {glad})?", "feel"),
        (f"{a} {be} {_any(lexicon.SORRY)}(?: because {sorry})?", "feel"),
        (f"{a} {verb(lexicon.ACT)}", "name"),
        (f'"{_any((*remarks, *lexicon.THANKS))}" {verb(lexicon.SAY)} {a}', "name"),
        (_tensed(lexicon.SETTINGS, is_past), "name"),
        (_tensed((*lexicon.ENDINGS, *lexicon.ENDINGS_TOGETHER), is_past), "name"),
        (f"(?:{'then' if is_past else 'now'} )?{a} {has} {counted}", "count"),
        (f"{a} {_any(gains)} {amount} more", "gain"),
        (f"{b} {gives} {a} {amount} more", "gain"),
        (f"{a} {_any(spends)} {amount} of them", "spend"),
        (f"{a} {gives} {amount} of them to {b}", "spend"),
    )
    return [(re.compile(pattern), action) for pattern, action in forms]


_WOMEN = frozenset(lexicon.WOMEN)
_NAMES = _any((*lexicon.WOMEN, *lexicon.MEN))
_STARTS = re.compile(
    _any((*lexicon.OPENINGS, *lexicon.OPENINGS_PRESENT, *lexicon.LEADS_PRESENT)) + " (?P<rest>.*)"
)


def _bare(sentence: str) -> str:
    """Without the capital, unless it is a name's."""
    return sentence if re.match(rf"{_NAMES}\b", sentence) else sentence[:1].lower() + sentence[1:]


class Reader:
    def __init__(self, *, is_past: bool) -> None:
        self.holder: dict[str, str | None] = {}
        self.like: dict[str, str] = {}
        """Thing -> its adjective, empty if it came with none."""
        self.place: dict[str, str] = {}
        self.count: dict[str, tuple[str, int]] = {}
        self._is_past = is_past
        self._recent: list[str] = []
        """People, the one named last at the end."""
        self._thing: str | None = None
        self._faults: list[str] = []

    def read(self, story: str) -> list[tuple[str, str]]:
        """Every slip of the story, as (kind, sentence)."""
        found = []
        text = story.strip()
        if not text.endswith("."):
            found.append(("form", text.rsplit(". ", 1)[-1]))
        for sentence in text.removesuffix(".").split(". "):
            self._faults = []
            self._sentence(sentence)
            found += [(kind, sentence) for kind in self._faults]
        return found

    def _sentence(self, sentence: str) -> None:
        started = _STARTS.fullmatch(sentence)
        for text in (_bare(sentence), *([_bare(started["rest"])] if started else [])):
            for pattern, action in _patterns(self._is_past):
                if match := pattern.fullmatch(text):
                    self._act(action, {key: text for key, text in match.groupdict().items() if text})
                    return
        self._faults.append("form")

    def _act(self, action: str, said: dict[str, str]) -> None:
        thing = said.get("thing") or (self._thing if "it" in said else None)
        if "it" in said and thing is None:
            self._faults.append("pronoun")
        names = said["all"].replace(" and ", ", ").split(", ") if "all" in said else []
        a = self._person(said.get("a"), other_than=None)
        b = self._person(said.get("b"), other_than=a)
        people = [person for person in (*names, a, b) if person]
        if len(set(people)) < len(people):
            self._faults.append("twice")
        like = said.get("like", "")
        if thing and action == "acquire":
            self.like[thing] = like
        elif thing and (thing not in self.holder or (like and like != self.like.get(thing))):
            self._faults.append("thing")
        act: Callable[..., None] = getattr(self, f"_{action}")
        act(said, people, thing)
        self._recent = [person for person in self._recent if person not in people] + people[::-1]
        self._thing = None if "other" in said else thing or self._thing

    def _person(self, said: str | None, *, other_than: str | None) -> str | None:
        if said not in ("she", "her", "he", "him"):
            return said
        is_woman = said in ("she", "her")
        for name in reversed(self._recent):
            if (name in _WOMEN) == is_woman and name != other_than:
                return name
        self._faults.append("pronoun")
        return None

    def _expect(self, thing: str | None, holder: str | None, *, kind: str = "holder") -> None:
        if thing in self.holder and self.holder[thing] != holder:
            self._faults.append(kind)

    def _name(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        """A sentence that changes nothing."""

    def _stay(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        for person in people:
            self.place[person] = said["here"].rsplit(" ", 1)[-1]

    def _acquire(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        assert thing is not None
        if thing in self.holder:
            self._faults.append("thing")
        self.holder[thing] = people[0] if people else None

    def _hand(self, thing: str | None, giver: str | None, taker: str | None) -> None:
        self._expect(thing, giver)
        if thing:
            self.holder[thing] = taker

    def _give(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if len(people) == 2:
            self._hand(thing, *people)

    def _take(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if len(people) == 2:
            self._hand(thing, people[1], people[0])

    def _swap(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if len(people) == 2:
            if said["other"] not in self.holder:
                self._faults.append("thing")
            self._hand(thing, *people)
            self._hand(said["other"], people[1], people[0])

    def _leave(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people:
            self._hand(thing, people[0], None)

    def _find(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people:
            self._hand(thing, None, people[0])

    def _go(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        places = {self.place.get(person) for person in people}
        if said["place"] in places or ("all" in said and (len(places) > 1 or None in places)):
            self._faults.append("place")
        for person in people:
            self.place[person] = said["place"]

    def _carry(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people:
            self._expect(thing, people[0])
        self._go(said, people, thing)

    def _follow(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if len(people) == 2 and self.place.get(people[1]) != said["place"]:
            self._faults.append("place")
        self._go(said, people[:1], thing)

    def _feel(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people and "who" in said and (people[0] in _WOMEN) != (said["who"] == "she"):
            self._faults.append("pronoun")

    def _count(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        amount = NUMBERS[said["amount"]]
        for person in people:
            known = self.count.get(person)
            if known and known[1] != amount:
                self._faults.append("count")
            self.count[person] = (said["counted"], amount)

    def _change(self, person: str, by: int) -> None:
        if person not in self.count or self.count[person][1] + by < 1:
            self._faults.append("count")
            return
        noun, amount = self.count[person]
        self.count[person] = (noun, amount + by)

    def _gain(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people:
            self._change(people[0], NUMBERS[said["amount"]])

    def _spend(self, said: dict[str, str], people: list[str], thing: str | None) -> None:
        if people:
            self._change(people[0], -NUMBERS[said["amount"]])
