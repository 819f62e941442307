"""Questions about a tale, each answered from its world. A question is asked only if the tale decides it."""

import random
from collections.abc import Callable, Sequence

from glassformer.training import lexicon
from glassformer.training.document import Question
from glassformer.training.narrator import capitalize
from glassformer.training.world import Person, World

STATE_KINDS = ("who_has", "where_person", "where_thing", "what_has")
KINDS = (*STATE_KINDS, "who_gave", "how_many", "why")


def who_has(world: World, rng: random.Random) -> Question | None:
    things = list(world.holder)
    if not things:
        return None
    thing = _prefer_moved(world, rng)
    holder = world.holder[thing] or "Nobody"
    text = rng.choice((f"Who has the {thing}?", f"Who has the {thing} now?", f"Who is holding the {thing}?"))
    return Question("who_has", text, f"{holder}.", f"{holder} has the {thing}.")


def where_person(world: World, rng: random.Random) -> Question | None:
    if not world.place:
        return None
    name = rng.choice(list(world.place))
    place = world.place[name]
    text = rng.choice((f"Where is {name}?", f"Where is {name} now?"))
    return Question("where_person", text, f"{capitalize(str(place))}.", f"{name} is {place}.")


def where_thing(world: World, rng: random.Random) -> Question | None:
    if not world.holder:
        return None
    lying = list(world.lies)
    thing = rng.choice(lying) if lying and rng.random() < 0.8 else _prefer_moved(world, rng)
    text = rng.choice((f"Where is the {thing}?", f"Where is the {thing} now?"))
    if thing in world.lies:
        place = str(world.lies[thing])
        return Question("where_thing", text, f"{capitalize(place)}.", f"The {thing} is {place}.")
    holder = world.holder[thing]
    return Question("where_thing", text, f"{holder} has it.", f"{holder} has the {thing}.")


def what_has(world: World, rng: random.Random) -> Question | None:
    names = [name for name in dict.fromkeys(world.holder.values()) if name and len(world.held_by(name)) == 1]
    if not names:
        return None
    name = rng.choice(names)
    (thing,) = world.held_by(name)
    text = rng.choice((f"What does {name} have?", f"What does {name} have now?", f"What is {name} holding?"))
    return Question("what_has", text, f"The {thing}.", f"{name} has the {thing}.")


def who_gave(world: World, rng: random.Random) -> Question | None:
    if not world.giver:
        return None
    thing = rng.choice(list(world.giver))
    giver, taker = world.giver[thing]
    return Question(
        "who_gave", f"Who gave the {thing} to {taker}?", f"{giver}.", f"{giver} gave it to {taker}."
    )


def how_many(world: World, rng: random.Random) -> Question | None:
    if not world.count:
        return None
    name = rng.choice(list(world.count))
    noun, amount = world.count[name]
    number = lexicon.NUMBERS[amount]
    text = rng.choice((f"How many {noun} does {name} have?", f"How many {noun} does {name} have now?"))
    return Question("how_many", text, f"{capitalize(number)}.", f"{name} has {number}.")


def why(world: World, rng: random.Random) -> Question | None:
    if not world.cause:
        return None
    name = rng.choice(list(world.cause))
    feeling, cause = world.cause[name]
    return Question("why", f"Why is {name} {feeling}?", f"Because {cause}.", f"Because {cause}.")


def _prefer_moved(world: World, rng: random.Random) -> str:
    """Things that have been handed over are the interesting ones."""
    return rng.choice([*world.holder, *world.giver, *world.giver])


ASKERS: dict[str, Callable[[World, random.Random], Question | None]] = {
    "who_has": who_has,
    "where_person": where_person,
    "where_thing": where_thing,
    "what_has": what_has,
    "who_gave": who_gave,
    "how_many": how_many,
    "why": why,
}
WEIGHTS = {
    "who_has": 4,
    "where_person": 2.5,
    "where_thing": 2.5,
    "what_has": 2,
    "who_gave": 1.5,
    "how_many": 5,
    "why": 5,
}


def ask(world: World, rng: random.Random, *, number: int, kinds: Sequence[str] = KINDS) -> list[Question]:
    """Up to `number` different questions that this world can answer."""
    questions: list[Question] = []
    asked: set[tuple[str, str]] = set()
    weights = [WEIGHTS[kind] for kind in kinds]
    for _ in range(3 * number):
        kind = rng.choices(kinds, weights)[0]
        question = ASKERS[kind](world, rng)
        if question is None:
            continue
        subject = (kind, question.full)
        if subject not in asked:
            asked.add(subject)
            questions.append(question)
        if len(questions) == number:
            break
    return questions


def people_of(people: Sequence[Person]) -> tuple[str, ...]:
    return tuple(person.name for person in people)
