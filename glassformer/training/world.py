"""What is true inside one tale: who is where, who holds what, and why. Knows no sentences.

Every event of the grammar changes this first and is written down second, so the answers can never disagree
with the story. Costs a few dictionary writes per event.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    name: str
    is_woman: bool

    @property
    def subject(self) -> str:
        return "she" if self.is_woman else "he"

    @property
    def object(self) -> str:
        return "her" if self.is_woman else "him"

    @property
    def possessive(self) -> str:
        return "her" if self.is_woman else "his"


@dataclass(frozen=True)
class Thing:
    noun: str
    adjective: str = ""


@dataclass(frozen=True)
class Place:
    preposition: str
    noun: str

    def __str__(self) -> str:
        return f"{self.preposition} the {self.noun}"


@dataclass
class World:
    """Facts by name: an absent key means that the tale has not said it yet."""

    holder: dict[str, str | None] = field(default_factory=dict)
    """thing -> the person who has it; None once it lies somewhere."""
    lies: dict[str, Place] = field(default_factory=dict)
    """thing -> where it lies; only while nobody has it."""
    place: dict[str, Place] = field(default_factory=dict)
    """person -> where they are."""
    giver: dict[str, tuple[str, str]] = field(default_factory=dict)
    """thing -> (who gave it, who got it), of its last handing over; gone once it is lost or put down."""
    count: dict[str, tuple[str, int]] = field(default_factory=dict)
    """person -> (plural noun, how many)."""
    cause: dict[str, tuple[str, str]] = field(default_factory=dict)
    """person -> (feeling, the reason as a clause)."""

    def held_by(self, name: str) -> list[str]:
        """The things `name` has, in the order they entered the tale."""
        return [thing for thing, holder in self.holder.items() if holder == name]

    def move(self, thing: str, holder: str, *, giver: str | None = None) -> None:
        self.holder[thing] = holder
        self.lies.pop(thing, None)
        self.giver.pop(thing, None)
        if giver is not None:
            self.giver[thing] = (giver, holder)

    def drop(self, thing: str, place: Place) -> None:
        self.holder[thing] = None
        self.lies[thing] = place
        self.giver.pop(thing, None)
