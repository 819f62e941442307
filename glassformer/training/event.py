"""The events of a tale: each changes the world, then tells it in one of several ways.

Events that change nothing (wanting, refusing, saying, doing) exist to make the last-named person a poor guess.
"""

from collections.abc import Sequence

from glassformer.training import lexicon
from glassformer.training.narrator import Narrator
from glassformer.training.world import Person, Thing


def meet(tale: Narrator, people: Sequence[Person]) -> None:
    """The people are together somewhere."""
    place = tale.draw_place()
    for person in people:
        tale.world.place[person.name] = place
    first = people[0]
    start = tale.opening()
    if len(people) == 1:
        text = f"{start}{first.name} {tale.is_are()} {place}"
    elif len(people) == 2 and tale.rng.random() < 0.3:
        text = f"{start}{first.name} {tale.is_are()} {place} with {people[1].name}"
    else:
        text = f"{start}{both(people)} {tale.is_are(plural=True)} {place}"
    tale.say(text, people=people, lead=False)


def both(people: Sequence[Person]) -> str:
    """`Mia, Tom and Leo`."""
    return ", ".join(person.name for person in people[:-1]) + f" and {people[-1].name}"


def own(tale: Narrator, person: Person, thing: Thing) -> None:
    tale.world.move(thing.noun, person.name)
    subject = tale.subject(person)
    if not tale.sentences:
        subject = tale.opening() + subject
    verb = tale.verb(tale.rng.choice(lexicon.OWN))
    tale.say(f"{subject} {verb} {tale.new(thing)}", people=[person], things=[thing], lead=False)


def find(tale: Narrator, person: Person, thing: Thing) -> None:
    tale.world.move(thing.noun, person.name)
    subject = tale.subject(person)
    if not tale.sentences:
        subject = tale.opening() + subject
    verb = tale.verb(tale.rng.choice(lexicon.FIND))
    where = f" {tale.draw_spot()}" if tale.rng.random() < 0.6 else ""
    tale.say(f"{subject} {verb} {tale.new(thing)}{where}", people=[person], things=[thing])


def give(tale: Narrator, giver: Person, taker: Person, thing: Thing) -> bool:
    """Whether that was kind of the giver: not if the taker just took it."""
    tale.world.move(thing.noun, taker.name, giver=giver.name)
    form = tale.rng.random()
    if form < 0.6:
        forms = tale.rng.choice(lexicon.GIVE)
        verb, subject, what = tale.verb(forms), tale.subject(giver), tale.the(thing)
        to = tale.indirect(taker, giver)
        if what == "it" or forms[0] in lexicon.GIVE_TO_ONLY or tale.rng.random() < 0.65:
            tale.say(f"{subject} {verb} {what} to {to}", people=[giver, taker], things=[thing])
        else:
            tale.say(f"{subject} {verb} {to} {what}", people=[giver, taker], things=[thing])
    elif form < 0.9:
        forms = tale.rng.choice(lexicon.TAKE)
        verb, subject, what = tale.verb(forms), tale.subject(taker), tale.the(thing)
        tale.say(
            f"{subject} {verb} {what} from {tale.indirect(giver, taker)}",
            people=[taker, giver],
            things=[thing],
        )
        return forms[0] not in lexicon.UNKIND
    else:
        say, give_verb = tale.verb(lexicon.SAY[0]), tale.verb(lexicon.GIVE[0])
        what = tale.named(thing)
        tale.say(
            f'"Here you are," {say} {giver.name} and {give_verb} {what} to {taker.name}',
            people=[giver, taker],
            things=[thing],
        )
    return True


def swap(tale: Narrator, first: Person, second: Person, mine: Thing, yours: Thing) -> None:
    """Two things change hands at once."""
    tale.world.move(mine.noun, second.name, giver=first.name)
    tale.world.move(yours.noun, first.name, giver=second.name)
    if tale.rng.random() < 0.6:
        verb, subject = tale.verb(tale.rng.choice(lexicon.SWAP)), tale.subject(first)
        text = f"{subject} {verb} {tale.named(mine)} for {second.name}'s {yours.noun}"
    else:
        verb = tale.verb(lexicon.GIVE[0])
        text = f"{first.name} {verb} {tale.named(mine)} to {second.name}"
        text += f" and {second.name} {verb} {tale.named(yours)} to {first.name}"
    tale.say(text, people=[first, second], things=[mine, yours])


def put(tale: Narrator, person: Person, thing: Thing) -> None:
    spot = tale.draw_spot()
    tale.world.drop(thing.noun, spot)
    verb, subject, what = tale.verb(tale.rng.choice(lexicon.PUT)), tale.subject(person), tale.the(thing)
    tale.say(f"{subject} {verb} {what} {spot}", people=[person], things=[thing])


def lose(tale: Narrator, person: Person, thing: Thing) -> None:
    """The thing now lies at a place that the sentence names; sometimes the loser says how that feels."""
    place = tale.draw_place()
    tale.world.drop(thing.noun, place)
    verb, subject, what = tale.verb(tale.rng.choice(lexicon.LOSE)), tale.subject(person), tale.the(thing)
    tale.say(f"{subject} {verb} {what} {place}", people=[person], things=[thing])
    if tale.rng.random() < 0.4:
        feel(tale, person, tale.rng.choice(lexicon.SORRY), f"{person.subject} lost the {thing.noun}")


def pick_up(tale: Narrator, person: Person, thing: Thing) -> None:
    """Someone takes a thing that lies about."""
    where = tale.world.lies[thing.noun]
    tale.world.move(thing.noun, person.name)
    verb, subject, what = tale.verb(tale.rng.choice(lexicon.FIND)), tale.subject(person), tale.the(thing)
    tail = f" {where}" if tale.rng.random() < 0.4 else ""
    picked = f"{verb} {what}"
    if what == "it" and verb.endswith(" up"):
        picked = f"{verb.removesuffix(' up')} it up"
    tale.say(f"{subject} {picked}{tail}", people=[person], things=[thing])


def go(tale: Narrator, people: Sequence[Person]) -> None:
    """Everyone in `people` goes somewhere else; what one holds goes along, and is sometimes named."""
    first = people[0]
    place = tale.draw_place(other_than=tale.world.place.get(first.name))
    for person in people:
        tale.world.place[person.name] = place
    forms = tale.rng.choice(lexicon.GO)
    if len(people) > 1:
        text = f"{both(people)} {tale.plural(forms)} to the {place.noun}"
    else:
        held = tale.world.held_by(first.name)
        subject = tale.subject(first)
        if len(held) == 1 and tale.rng.random() < 0.25:
            thing = Thing(held[0])
            verb = tale.verb(tale.rng.choice(lexicon.CARRY))
            tale.say(
                f"{subject} {verb} {tale.named(thing)} to the {place.noun}", people=people, things=[thing]
            )
            return
        text = f"{subject} {tale.verb(forms)} to the {place.noun}"
    tale.say(text, people=people)


def follow(tale: Narrator, person: Person, other: Person) -> None:
    """`person` goes to where `other` is."""
    place = tale.world.place[person.name] = tale.world.place[other.name]
    verb = tale.verb(("follows", "followed"))
    tale.say(f"{tale.subject(person)} {verb} {other.name} to the {place.noun}", people=[person, other])


def want(tale: Narrator, person: Person, thing: Thing) -> None:
    """Named together, but nothing changes hands."""
    holder = tale.world.holder.get(thing.noun)
    form = tale.rng.random()
    if form < 0.3 and holder is not None and holder != person.name:
        ask, say = tale.verb(lexicon.ASK[0]), tale.verb(lexicon.SAY[0])
        text = f'"Can I have {tale.named(thing)}?" {ask} {person.name}. "No, not today," {say} {holder}'
        tale.say(text, people=[], things=[thing])
        return
    choices: Sequence[tuple[str, str]] = lexicon.MISS
    if holder is not None:
        choices = lexicon.LIKE if holder == person.name else (*lexicon.LIKE, *lexicon.WANT)
    verb, subject = tale.verb(tale.rng.choice(choices)), tale.subject(person)
    tale.say(f"{subject} {verb} {tale.the(thing)}", people=[person], things=[thing])


def feel(tale: Narrator, person: Person, feeling: str, cause: str) -> None:
    """`cause` is a clause about an event that was told just before."""
    tale.world.cause[person.name] = (feeling, cause)
    text = f"{tale.subject(person)} {tale.is_are()} {feeling}"
    if tale.rng.random() < 0.7:
        text += f" because {cause}"
    tale.say(text, people=[person])


def act(tale: Narrator, person: Person) -> None:
    verb = tale.verb(tale.rng.choice(lexicon.ACT))
    tale.say(f"{tale.subject(person)} {verb}", people=[person])


def remark(tale: Narrator, person: Person) -> None:
    verb, text = tale.verb(tale.rng.choice(lexicon.SAY)), tale.rng.choice(lexicon.REMARKS)
    spoken = text[:-1] + "," if text.endswith(".") else text
    tale.say(f'"{spoken}" {verb} {person.name}', people=[person])


def thank(tale: Narrator, person: Person) -> None:
    tale.say(
        f'"{tale.rng.choice(lexicon.THANKS)}" {tale.verb(lexicon.SAY[0])} {person.name}', people=[person]
    )


def describe(tale: Narrator) -> None:
    tale.say(tale.tensed(tale.rng.choice(lexicon.SETTINGS)))


def end(tale: Narrator, *, people: int) -> None:
    """The last sentence of a story with so many people in it."""
    endings = (*lexicon.ENDINGS, *lexicon.ENDINGS_TOGETHER) if people > 1 else lexicon.ENDINGS
    tale.say(tale.tensed(tale.rng.choice(endings)), lead=False)


def count(tale: Narrator, person: Person, other: Person, noun: str) -> None:
    """Two or three steps of adding and taking away, never past what NUMBERS can say."""
    rng, numbers = tale.rng, lexicon.NUMBERS
    amount = rng.randint(1, 6)
    ways = [("loses", "lost"), ("sells", "sold"), *([("eats", "ate")] if noun in lexicon.EATEN else [])]
    subject = tale.subject(person) if tale.sentences else tale.opening() + person.name
    tale.say(f"{subject} {tale.verb(lexicon.OWN[0])} {phrase(amount, noun)}", people=[person], lead=False)
    for _ in range(1 if rng.random() < 0.8 else 2):
        loses = amount > 1 and rng.random() < 0.45
        change = rng.randint(1, min(3, amount - 1)) if loses else rng.randint(1, 3)
        word = numbers[change]
        if loses:
            amount -= change
            verb, tail = (
                (tale.verb(lexicon.GIVE[0]), f" to {other.name}")
                if rng.random() < 0.6
                else (tale.verb(rng.choice(ways)), "")
            )
            tale.say(f"{tale.subject(person)} {verb} {word} of them{tail}", people=[person])
        else:
            amount += change
            if rng.random() < 0.6:
                verb = tale.verb(rng.choice((("finds", "found"), ("buys", "bought"), ("gets", "got"))))
                tale.say(f"{tale.subject(person)} {verb} {word} more", people=[person])
            else:
                verb = tale.verb(lexicon.GIVE[0])
                tale.say(f"{other.name} {verb} {person.name} {word} more", people=[other, person])
    tale.world.count[person.name] = (noun, amount)
    if rng.random() < 0.25:
        tale.say(
            f"{'then' if tale.is_past else 'now'} {person.name} {tale.verb(lexicon.OWN[0])} {phrase(amount, noun)}",
            people=[person],
            lead=False,
        )


def phrase(amount: int, plural: str) -> str:
    """`three apples`, `one apple`."""
    noun = plural
    if amount == 1:
        noun = (
            plural[:-3] + "y"
            if plural.endswith("ies") and plural != "cookies"
            else "leaf"
            if plural == "leaves"
            else plural[:-2]
            if plural.endswith(("xes", "ches", "shes"))
            else plural[:-1]
        )
    return f"{lexicon.NUMBERS[amount]} {noun}"
