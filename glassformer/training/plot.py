"""Story shapes: which events happen, in which order, by `level` (the curriculum of the training).

A shape draws its people and things, tells its events, and leaves the world as the questions will find it. In SHAPES
there is one thing, and people stay together; from level 0 to 1 they get longer. Above level 1 come LATE_SHAPES: people
in several places, and above APART_LEVEL several things. Met too early, they keep a model from learning anything.
"""

import random
from collections.abc import Callable

from glassformer.training import event, lexicon
from glassformer.training.narrator import Narrator, known
from glassformer.training.world import Person, Thing

Shape = Callable[[Narrator, "Cast", float], None]


class Cast:
    """The people and things of one tale, all different."""

    def __init__(
        self,
        rng: random.Random,
        *,
        level: float,
        people: tuple[Person, ...] = (),
        things: tuple[Thing, ...] = (),
    ) -> None:
        self._rng = rng
        self._level = level
        self.people: list[Person] = []
        self.things: list[Thing] = []
        self._wanted_people = list(people)
        self._wanted_things = list(things)

    def person(self) -> Person:
        person = (
            self._wanted_people.pop(0) if self._wanted_people else draw_person(self._rng, level=self._level)
        )
        while person.name in {other.name for other in self.people}:
            person = draw_person(self._rng, level=self._level)
        self.people.append(person)
        return person

    def persons(self, number: int) -> list[Person]:
        return [self.person() for _ in range(number)]

    def thing(self) -> Thing:
        thing = (
            self._wanted_things.pop(0) if self._wanted_things else draw_thing(self._rng, level=self._level)
        )
        while thing.noun in {other.noun for other in self.things}:
            thing = draw_thing(self._rng, level=self._level)
        self.things.append(thing)
        return thing


def draw_person(rng: random.Random, *, level: float) -> Person:
    is_woman = rng.random() < 0.5
    return Person(rng.choice(known(lexicon.WOMEN if is_woman else lexicon.MEN, level)), is_woman)


def draw_thing(rng: random.Random, *, level: float) -> Thing:
    return Thing(
        rng.choice(known(lexicon.OBJECTS, level)),
        rng.choice(lexicon.ADJECTIVES) if rng.random() < 0.6 else "",
    )


def some(tale: Narrator, level: float, low: int, high: int) -> int:
    """Between low and high, more of them at higher levels."""
    return low + int(tale.rng.random() * level * (high - low + 0.999))


def pause(tale: Narrator, cast: Cast, level: float) -> None:
    """Perhaps a sentence that changes nothing anyone asks about."""
    rng = tale.rng
    for _ in range(some(tale, level, 0, 1)):
        draw = rng.random()
        person = rng.choice(cast.people)
        if draw < 0.22:
            event.act(tale, person)
        elif draw < 0.4:
            event.describe(tale)
        elif draw < 0.55:
            event.remark(tale, person)
        elif draw < 0.8 and cast.things:
            event.want(tale, person, rng.choice(cast.things))
        else:
            event.act(tale, person)


def acquire(tale: Narrator, person: Person, thing: Thing) -> None:
    (event.own if tale.rng.random() < 0.6 else event.find)(tale, person, thing)


def relay(tale: Narrator, cast: Cast, level: float) -> None:
    """One thing goes from hand to hand."""
    people = cast.persons(some(tale, level, 2, 3))
    thing = cast.thing()
    if tale.rng.random() < 0.5:
        event.meet(tale, people)
    acquire(tale, people[0], thing)
    holder = people[0]
    for _ in range(some(tale, level, 1, 2)):
        pause(tale, cast, level)
        taker = tale.rng.choice([person for person in people if person != holder])
        is_kind = event.give(tale, holder, taker, thing)
        holder = taker
        if is_kind and tale.rng.random() < 0.15:
            event.thank(tale, holder)
    pause(tale, cast, level)


def journey(tale: Narrator, cast: Cast, level: float) -> None:
    """One or two people go from place to place, perhaps with a thing."""
    people = cast.persons(1 if tale.rng.random() < 0.4 else 2)
    event.meet(tale, people)
    if tale.rng.random() < 0.6:
        acquire(tale, tale.rng.choice(people), cast.thing())
    for _ in range(some(tale, level, 1, 3)):
        event.go(tale, people)
        pause(tale, cast, level)


def lost(tale: Narrator, cast: Cast, level: float) -> None:
    """A thing is lost, and perhaps found again by someone else."""
    owner, friend = cast.persons(2)
    thing = cast.thing()
    acquire(tale, owner, thing)
    pause(tale, cast, level)
    event.lose(tale, owner, thing)
    pause(tale, cast, level)
    if tale.rng.random() < 0.6:
        finder = friend if tale.rng.random() < 0.8 else owner
        event.pick_up(tale, finder, thing)
        if finder is friend and tale.rng.random() < 0.6:
            event.give(tale, friend, owner, thing)
            if tale.rng.random() < 0.6:
                event.feel(
                    tale, owner, tale.rng.choice(lexicon.GLAD), f"{owner.subject} got the {thing.noun} back"
                )
    pause(tale, cast, level)


def hiding(tale: Narrator, cast: Cast, level: float) -> None:
    """A thing is put somewhere, taken up, and put elsewhere."""
    people = cast.persons(2)
    thing = cast.thing()
    acquire(tale, tale.rng.choice(people), thing)
    for _ in range(some(tale, level, 1, 3)):
        holder = tale.world.holder[thing.noun]
        if holder is None:
            event.pick_up(tale, tale.rng.choice(people), thing)
        else:
            event.put(tale, next(person for person in people if person.name == holder), thing)
        pause(tale, cast, level)


def gift(tale: Narrator, cast: Cast, level: float) -> None:
    """A present, and what it makes someone feel."""
    giver, taker = cast.persons(2)
    thing = cast.thing()
    if tale.rng.random() < 0.5:
        event.meet(tale, [giver, taker])
    acquire(tale, giver, thing)
    pause(tale, cast, level)
    if event.give(tale, giver, taker, thing) and tale.rng.random() < 0.4:
        event.thank(tale, taker)
    if tale.rng.random() < 0.7:
        event.feel(tale, taker, tale.rng.choice(lexicon.GLAD), f"{taker.subject} got the {thing.noun}")
    pause(tale, cast, level)


def sums(tale: Narrator, cast: Cast, level: float) -> None:
    """Counting apples."""
    person, other = cast.persons(2)
    if tale.rng.random() < 0.3 * level:
        event.meet(tale, [person, other])
    event.count(tale, person, other, tale.rng.choice(known(lexicon.COUNTED, level)))


def envy(tale: Narrator, cast: Cast, level: float) -> None:
    """Someone wants what another has, and may or may not get it."""
    holder, other = cast.persons(2)
    thing = cast.thing()
    event.meet(tale, [holder, other])
    acquire(tale, holder, thing)
    event.want(tale, other, thing)
    pause(tale, cast, level)
    if tale.rng.random() < 0.5:
        event.give(tale, holder, other, thing)
    else:
        event.act(tale, other)
        if tale.rng.random() < 0.4:
            cause = f"{other.subject} did not get the {thing.noun}"
            event.feel(tale, other, tale.rng.choice(lexicon.SORRY), cause)
    pause(tale, cast, level)


def wandering(tale: Narrator, cast: Cast, level: float) -> None:
    """Anything goes: events in any order, as many as the level allows."""
    people = cast.persons(some(tale, level, 2, 3))
    event.meet(tale, people)
    thing = cast.thing()
    acquire(tale, tale.rng.choice(people), thing)
    by_name = {person.name: person for person in people}
    for _ in range(some(tale, level, 2, 4)):
        holder_name = tale.world.holder[thing.noun]
        draw = tale.rng.random()
        if draw < 0.3:
            event.go(tale, people)
        elif holder_name is None:
            event.pick_up(tale, tale.rng.choice(people), thing)
        elif draw < 0.65:
            holder = by_name[holder_name]
            event.give(tale, holder, tale.rng.choice([p for p in people if p != holder]), thing)
        elif draw < 0.85:
            event.put(tale, by_name[holder_name], thing)
        else:
            pause(tale, cast, level)


def trade(tale: Narrator, cast: Cast, level: float) -> None:
    """Two things change places."""
    first, second = cast.persons(2)
    mine, yours = cast.thing(), cast.thing()
    if tale.rng.random() < 0.4:
        event.meet(tale, [first, second])
    acquire(tale, first, mine)
    acquire(tale, second, yours)
    pause(tale, cast, level)
    event.swap(tale, first, second, mine, yours)
    pause(tale, cast, level)


def party(tale: Narrator, cast: Cast, level: float) -> None:
    """Everyone has something; one of the things may change hands."""
    people = cast.persons(some(tale, level, 2, 3))
    if tale.rng.random() < 0.5:
        event.meet(tale, people)
    for person in people:
        acquire(tale, person, cast.thing())
    pause(tale, cast, level)
    if tale.rng.random() < 0.6:
        giver = tale.rng.randrange(len(people))
        taker = tale.rng.choice([person for person in people if person != people[giver]])
        event.give(tale, people[giver], taker, cast.things[giver])
        pause(tale, cast, level)


def parting(tale: Narrator, cast: Cast, level: float) -> None:
    """Two people go separate ways, and perhaps one follows the other."""
    people = cast.persons(2)
    event.meet(tale, people)
    if tale.rng.random() < 0.4:
        acquire(tale, tale.rng.choice(people), cast.thing())
    for _ in range(some(tale, level, 1, 2)):
        event.go(tale, [tale.rng.choice(people)])
        pause(tale, cast, level)
    first, second = tale.rng.sample(people, 2)
    if tale.world.place[first.name] != tale.world.place[second.name] and tale.rng.random() < 0.3:
        event.follow(tale, first, second)


SHAPES: dict[str, tuple[Shape, float]] = {
    "relay": (relay, 2.0),
    "journey": (journey, 1.4),
    "lost": (lost, 1.0),
    "hiding": (hiding, 1.3),
    "gift": (gift, 1.2),
    "sums": (sums, 2.0),
    "envy": (envy, 0.8),
    "wandering": (wandering, 2.0),
}
"""Name -> (plot, weight in the corpus)."""

LATE_SHAPES: dict[str, tuple[Shape, float]] = {
    "trade": (trade, 1.0),
    "party": (party, 1.0),
    "parting": (parting, 1.0),
}
LATE_SHARE = 0.22  # of the stories, at FULL_LEVEL
SEVERAL_THINGS = ("trade", "party")
APART_LEVEL = 1.5  # up to here no story has several things
FULL_LEVEL = 2.0  # everything that the grammar can tell


def draw_shape(rng: random.Random, level: float) -> str:
    if rng.random() >= LATE_SHARE * (level - 1):
        return rng.choices(list(SHAPES), [weight for _, weight in SHAPES.values()])[0]
    several = max(0.0, (level - APART_LEVEL) / (FULL_LEVEL - APART_LEVEL))
    weights = [
        weight * (several if name in SEVERAL_THINGS else 1) for name, (_, weight) in LATE_SHAPES.items()
    ]
    return rng.choices(list(LATE_SHAPES), weights)[0]


def tell(tale: Narrator, cast: Cast, level: float) -> str:
    """Tell a tale of a drawn shape, whose name is returned."""
    shape = draw_shape(tale.rng, level)
    tell_shape, _ = (SHAPES | LATE_SHAPES)[shape]
    tell_shape(tale, cast, min(level, 1.0))
    return shape
