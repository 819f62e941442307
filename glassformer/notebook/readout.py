"""A reading as it is shown in terminals and notebooks: the decision, and the parts that add and take away most."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from glassformer.protocol.reading import HeadReads, PartValue, Reading

if TYPE_CHECKING:
    import pandas

# Parts in a terminal, the largest first; the rest is told as one sum.
SHOWN_PARTS = 12
# Positions told of a head.
SHOWN_READS = 3


class Readout(Reading):
    """A reading that reads well. `words` are the texts of the run's tokens, by position."""

    words: list[str]

    def table(self) -> pandas.DataFrame:
        """Every part with what it adds, in order of computation."""
        import pandas

        columns = ("kind", "block", "head", "expert", "value")
        frame = pandas.DataFrame([{name: getattr(part, name) for name in columns} for part in self.parts])
        frame.attrs = {"logit": self.logit, "remainder": self.remainder, "position": self.position}
        return frame.astype(dict.fromkeys(columns[1:4], "Int64"))

    @property
    def title(self) -> str:
        """`' Madrid' after ' is' (position 18): 59.22 %, 23.559 above the average word`."""
        against = {"none": "logit {}", "mean": "{} above the average word"}.get(
            str(self.versus), f"{{}} above token {self.versus}"
        )
        sum_of = against.format(f"{self.logit:.5g}")
        return (
            f"{self.token.text!r} after {self.words[self.position]!r} (position {self.position}): "
            f"{100 * self.probability:.4g} %, {sum_of}"
        )

    def list_rows(self, count: int) -> list[tuple[float, str, str]]:
        """The `count` largest parts: what each adds, its name, and what it reads; the rest as one row."""
        ranked = sorted(self.parts, key=lambda part: -abs(part.value))
        reads = {(head.block, head.head): head for head in self.attention}
        rows = [
            (
                part.value,
                name_part(part),
                self._describe_reads(reads.get((part.block or 0, part.head or 0))),
            )
            if part.kind == "head"
            else (part.value, name_part(part), "")
            for part in ranked[:count]
        ]
        others = ranked[count:]
        if others:
            rows.append((sum(part.value for part in others), f"the sum of {len(others)} more parts", ""))
        return [*rows, (self.remainder, "remainder", "")]

    def _describe_reads(self, head: HeadReads | None) -> str:
        if head is None:
            return ""
        ranked = sorted(
            zip(head.carried, head.weights, head.positions, strict=True), key=lambda read: -read[0]
        )
        told = [
            f"{self.words[position]!r} {100 * weight:.0f} %" for _, weight, position in ranked[:SHOWN_READS]
        ]
        return "reads " + ", ".join(told)

    def list_turns(self) -> list[tuple[int, str, float]]:
        """Boundaries at which the likeliest word changes: the boundary, the word and its probability."""
        turns: list[tuple[int, str, float]] = []
        for words in self.lens:
            best = words.tokens[0]
            if not turns or turns[-1][1] != best.text:
                turns.append((words.boundary, best.text, best.probability))
        return turns

    def list_faults(self) -> list[str]:
        """What could not be told apart, each reason once."""
        return list(dict.fromkeys(f"{piece.kind or piece.piece}: {piece.reason}" for piece in self.refused))

    def __repr__(self) -> str:
        lines = [self.title]
        lines += [
            f"  {value:>+10.4f}  {name}{'  ' + reads if reads else ''}"
            for value, name, reads in self.list_rows(SHOWN_PARTS)
        ]
        lines.append("  words by depth: " + ", ".join(f"{b} {text!r}" for b, text, _ in self.list_turns()))
        lines += [f"  not told: {fault}" for fault in self.list_faults()]
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:right'>{value:+.4f}</td><td style='text-align:left'>{escape(name)}</td>"
            f"<td style='text-align:left'>{escape(reads)}</td></tr>"
            for value, name, reads in self.list_rows(SHOWN_PARTS)
        )
        faults = "".join(f"<p>{escape(fault)}</p>" for fault in self.list_faults())
        return f"<div><p><b>{escape(self.title)}</b></p><table>{rows}</table>{faults}</div>"


def name_part(part: PartValue) -> str:
    """`head 4 of block 24`, `MLP of block 3`, `embedding`."""
    names: dict[str, str] = {"mlp": "MLP", "bias": "biases"}
    number = part.expert if part.kind == "expert" else part.head
    name = names.get(part.kind, part.kind) + ("" if number is None else f" {number}")
    return name if part.block is None else f"{name} of block {part.block}"


def read_out(reading: Reading, words: Sequence[str]) -> Readout:
    """A reading with the words it is about."""
    return Readout.model_validate({**reading.model_dump(), "words": list(words)})
