"""The parts of a sum on their way to a message."""

from __future__ import annotations

from dataclasses import dataclass, field

from glassformer.protocol.reading import PartValue, RefusedPiece

# Kind, block and number.
Key = tuple[str, int | None, int | None]
# How parts of one block follow each other.
ORDER = ("embedding", "head", "mixer", "mlp", "expert", "bias")


@dataclass
class Parts:
    """What was found: values by kind, block and number, and what could not be told apart."""

    values: dict[Key, float] = field(default_factory=dict)
    refused: list[RefusedPiece] = field(default_factory=list)

    def add(self, kind: str, value: float, block: int | None = None, number: int | None = None) -> None:
        key = kind, block, number
        self.values[key] = self.values.get(key, 0.0) + value

    def merge(self, other: Parts) -> None:
        for key, value in other.values.items():
            self.values[key] = self.values.get(key, 0.0) + value
        self.refused += other.refused

    def keep(self, kind: str) -> None:
        """Take everything but one kind back."""
        self.values = {key: value for key, value in self.values.items() if key[0] == kind}

    def refuse(self, reason: str, kind: str | None = None, block: int | None = None) -> None:
        self.refused.append(RefusedPiece(piece="parts", kind=kind, block=block, reason=reason))

    def list(self) -> list[PartValue]:
        """The parts in order of computation."""

        def place(key: Key) -> tuple[float, int, int]:
            kind, block, number = key
            at = block if block is not None else -1 if kind == "embedding" else float("inf")
            return at, ORDER.index(kind), number or 0

        return [
            PartValue.model_validate(
                {
                    "kind": kind,
                    "block": block,
                    "value": self.values[kind, block, number],
                    **({} if number is None else {kind: number}),
                }
            )
            for kind, block, number in sorted(self.values, key=place)
        ]
