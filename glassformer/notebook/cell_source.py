"""Where a `Trace` gets its numbers: a model in memory, or a folder. Both answer the same few questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from glassformer.errors import UnknownAddress
from glassformer.protocol.anatomy import Anatomy, Site
from glassformer.protocol.messages import Intervention
from glassformer.protocol.reading import Reading
from glassformer.tiles.level import Array, Region

if TYPE_CHECKING:
    from glassformer.run.run import Run


class NoSite(UnknownAddress, KeyError):
    """No such address, or a refused one, where Python expects a KeyError; says why."""

    def __str__(self) -> str:
        return self.message


class Source(Protocol):
    """A finished recording."""

    anatomy: Anatomy
    token_ids: list[int]
    tokens: list[str]
    """The text of each token as it reads in the middle of a text."""
    prompt_count: int
    positions: int
    text: str
    interventions: tuple[Intervention, ...]
    live: Run | None
    """None where there is no model behind it."""

    def require_site(self, address: str) -> Site:
        """The site of that address. Raises UnknownAddress, with the reason where there are no numbers for it."""

    def shape(self, site: Site) -> tuple[int, ...]:
        """The shape of all its cells."""

    def read(self, address: str, region: Region) -> Array:
        """Cells of a region, in an array of the caller's own."""

    def find_reading(self) -> Reading | None:
        """The reading that was kept with it, where there is one."""


class LiveSource:
    """A recording with its model."""

    def __init__(self, live: Run) -> None:
        assert live.loaded.anatomy is not None  # a Trace is not made without
        self.live: Run | None = live
        self._trace = live
        self.anatomy = live.loaded.anatomy
        self.token_ids = list(live.token_ids)
        self.tokens = [token.text for token in live.loaded.tokens(self.token_ids)]
        self.prompt_count = live.prompt_count
        self.positions = live.positions
        self.text = live.loaded.decode(self.token_ids)
        self.interventions = live.interventions

    def require_site(self, address: str) -> Site:
        return self._trace.require_site(address)

    def shape(self, site: Site) -> tuple[int, ...]:
        return self._trace.shape(site)

    def read(self, address: str, region: Region) -> Array:
        return self._trace.read(address, region, copies=True)

    def find_reading(self) -> Reading | None:
        return None  # it is made when asked for
