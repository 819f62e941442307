"""Answers of `/v1/responses` that are kept, so that a later request may go on from one by its id.

Bounded by count and by bytes of JSON; what was asked for longest ago makes way. Each holds the conversation up to it,
so that one can be gone on from when those before it have gone. The event loop's thread alone.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from glassformer.errors import GoneResponse, UnknownResponse


@dataclass(frozen=True)
class StoredResponse:
    """A response as it was answered, what it was asked (`given`), and what stood before that."""

    response: dict[str, Any]
    given: list[dict[str, Any]]
    before: list[dict[str, Any]] = field(default_factory=list)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The conversation so far, its answer included."""
        return [*self.asked, *self.response["output"]]

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The conversation up to its answer."""
        return [*self.before, *self.given]

    def measure(self) -> int:
        """Bytes, as JSON."""
        return len(json.dumps([self.response, self.given, self.before]))


class ResponseStore:
    """At most `most` responses in `most_bytes`."""

    def __init__(self, most_bytes: int, most: int) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, stored: StoredResponse) -> None:
        """Keep it, where it fits at all."""
        size = stored.measure()
        if size > self._most_bytes or not self._most:
            return
        self._kept[stored.response["id"]] = stored, size
        self.nbytes += size
        while self.nbytes > self._most_bytes or len(self._kept) > self._most:
            _, (_, gone) = self._kept.popitem(last=False)
            self.nbytes -= gone

    def find(self, response_id: str) -> StoredResponse:
        """The response of that id, which counts as asked for. Raises UnknownResponse."""
        if response_id not in self._kept:
            raise UnknownResponse(response_id[:80])
        self._kept.move_to_end(response_id)
        return self._kept[response_id][0]

    def go_on_from(self, response_id: str) -> list[dict[str, Any]]:
        """The conversation up to that response. Raises GoneResponse."""
        try:
            return self.find(response_id).items
        except UnknownResponse:
            raise GoneResponse(response_id[:80]) from None

    def delete(self, response_id: str) -> None:
        """Raises UnknownResponse."""
        self.find(response_id)
        self.nbytes -= self._kept.pop(response_id)[1]
