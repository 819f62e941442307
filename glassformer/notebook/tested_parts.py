"""Effects as they are shown in terminals and notebooks: the words, then the parts, that a decision needs most."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from glassformer.protocol.reading import Effect, Effects, Without

if TYPE_CHECKING:
    import pandas

# Rows of each kind in a terminal, those that change the most.
SHOWN_WORDS = 8
SHOWN_PARTS = 12

Row = tuple[str, str, float, float, str]
"""What is off, what it is, the margin's change, the probability then, and what would be said."""


class TestedParts(Effects):
    """Effects that read well. `words` are the texts of the run's tokens, by position."""

    __test__ = False
    words: list[str]

    def table(self) -> pandas.DataFrame:
        """Every word and part with what comes without it, those that are needed most first."""
        import pandas

        rows = [
            {
                "kind": effect.kind,
                "block": effect.block,
                "number": effect.head if effect.expert is None else effect.expert,
                "position": effect.position,
                "word": None if effect.position is None else self.words[effect.position],
                "probability": effect.probability,
                "margin": effect.margin,
                "change": effect.margin - self.base.margin,
                "says": effect.token.text,
            }
            for effect in sorted(self.parts, key=lambda effect: effect.margin)
        ]
        frame = pandas.DataFrame(rows).astype(dict.fromkeys(("block", "number", "position"), "Int64"))
        frame.attrs = {
            "position": self.position,
            "token": self.token.text,
            "probability": self.base.probability,
            "margin": self.base.margin,
        }
        return frame

    @property
    def title(self) -> str:
        """`' Madrid' after ' is' (position 18): 59.22 %, margin -0.524`."""
        return (
            f"{self.token.text!r} after {self.words[self.position]!r} (position {self.position}): "
            f"{describe_share(self.base.probability)}, margin {self.base.margin:.4g}"
        )

    def list_rows(self, *, words: int = SHOWN_WORDS, parts: int = SHOWN_PARTS) -> list[Row]:
        """So many words and so many parts whose effects are the largest, each kind by margin, the least first."""
        chosen: list[Effect] = []
        for is_word, count in ((True, words), (False, parts)):
            some = [effect for effect in self.parts if (effect.kind == "token") == is_word]
            some.sort(key=lambda effect: -abs(effect.margin - self.base.margin))
            chosen += sorted(some[:count], key=lambda effect: effect.margin)
        return [
            (
                name_effect(effect),
                repr(self.words[effect.position]) if effect.position is not None else describe_part(effect),
                effect.margin - self.base.margin,
                effect.probability,
                repr(effect.token.text),
            )
            for effect in chosen
        ]

    def list_faults(self) -> list[str]:
        """What could not be tested, each reason once."""
        return list(dict.fromkeys(piece.reason for piece in self.refused))

    def __repr__(self) -> str:
        lines = [self.title]
        lines += [
            f"  {change:>+9.4f}  {describe_share(probability):>8}  {name:<14} {what}: {says}"
            for name, what, change, probability, says in self.list_rows()
        ]
        return "\n".join([*lines, *(f"  not tested: {fault}" for fault in self.list_faults())])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        heading = "".join(f"<th>{title}</th>" for title in TITLES)
        rows = "".join(
            f"<tr><td>{name}</td><td>{escape(what)}</td><td>{change:+.4f}</td>"
            f"<td>{describe_share(probability)}</td><td>{escape(says)}</td></tr>"
            for name, what, change, probability, says in self.list_rows()
        )
        faults = "".join(f"<p>{escape(fault)}</p>" for fault in self.list_faults())
        return f"<div><p><b>{escape(self.title)}</b></p><table><tr>{heading}</tr>{rows}</table>{faults}</div>"


TITLES = ("without", "", "margin", "probability", "it would say")


class SwitchedOff(Without):
    """A decision without some parts that reads well."""

    def __repr__(self) -> str:
        told = ", ".join(
            f"{word.text!r} {describe_share(word.probability)}" for word in self.tokens[:SHOWN_WORDS]
        )
        return (
            f"Without {', '.join(self.parts)} (off: {self.off}): {told}; "
            f"{self.token.text!r} {describe_share(self.probability)}"
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


def name_effect(effect: Effect) -> str:
    """Its name on the wire."""
    numbers = (effect.position, effect.block, effect.head, effect.expert)
    return ".".join([effect.kind, *(str(number) for number in numbers if number is not None)])


def describe_part(effect: Effect) -> str:
    """`head 4 of block 24`, `MLP of block 3`."""
    number = effect.head if effect.expert is None else effect.expert
    name = {"mlp": "MLP"}.get(effect.kind, effect.kind) + ("" if number is None else f" {number}")
    return f"{name} of block {effect.block}"


def describe_share(probability: float) -> str:
    return f"{100 * probability:.4g} %"


def show_effects(effects: Effects, words: Sequence[str]) -> TestedParts:
    """Effects with the words they are about."""
    return TestedParts.model_validate({**effects.model_dump(), "words": list(words)})
