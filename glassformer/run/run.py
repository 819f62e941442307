"""One run of a model that can be looked into: its tokens, its recording, and any site of it on demand.

Knows no HTTP. Memory: the recording's residuals; materialised blocks live in the store's shared cache.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.capture.rerun import rerun_final_norm, rerun_tail, run_blocks
from glassformer.compute.packing import find_rope_types
from glassformer.errors import BadValue, UnknownAddress
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import Anatomy, Site, list_sites
from glassformer.protocol.messages import ChatMessage, Intervention
from glassformer.run.intervention import (
    Intervened,
    applied,
    change_input,
    check_interventions,
    inside_block,
)
from glassformer.run.materialise import PATTERNS, BlockSites, check_whole, form_pattern, materialise_block
from glassformer.run.recording import Recording, Send, to_numpy
from glassformer.tiles.level import Array, Region, count_levels, level_shape, read_level
from glassformer.tiles.zarr_store import ArrayView, ZarrReply, ZarrStore


class BlockCache(Protocol):
    """Where materialised blocks are kept between questions; may forget any of them."""

    def find(self, trace_id: str, block: int, positions: int) -> BlockSites | None:
        """A block's sites for at least `positions` positions, if still there."""

    def keep(self, trace_id: str, block: int, sites: BlockSites) -> None:
        """Keep them for a while."""


class Run:
    """A recording with everything needed to answer questions about it. Safe to ask from several threads.

    `watcher` is what a run gives to the engine: it records, and applies the interventions, if there are any.
    `prompt` and `messages` are what the first `prompt_count` tokens were made from; without a prompt it is what they
    read as. Raises BadValue for a model that cannot be looked into, and for interventions that cannot be applied.
    """

    def __init__(
        self,
        trace_id: str,
        loaded: LoadedModel,
        token_ids: list[int],
        prompt_count: int,
        cache: BlockCache,
        *,
        interventions: Sequence[Intervention] = (),
        prompt: str | None = None,
        messages: Sequence[ChatMessage] | None = None,
    ) -> None:
        anatomy = loaded.read_anatomy()
        if anatomy is None:
            raise BadValue("Looking into this model failed.", field="model_id")
        if anatomy.refused is not None:
            raise BadValue(f"This model cannot be looked into: {anatomy.refused}.", field="model_id")
        self.id = trace_id
        self.loaded = loaded
        self.token_ids = list(token_ids)
        self.prompt_count = prompt_count
        self._prompt = prompt
        self.messages = None if messages is None else list(messages)
        self.recording = Recording(loaded.structure, trace_id)
        self.interventions = tuple(interventions)
        self.batched_difference: float | None = None
        self.is_running = False
        # As one: threads that meet while it is renewed must not take the sites of another anatomy for its own.
        self._known: tuple[Anatomy, dict[str, Site]] = (anatomy, list_sites(anatomy))
        self._cache = cache
        self._lock = threading.RLock()
        # The store of a number of positions, and of an anatomy; a page asks for many keys between two steps.
        self._store: tuple[int, Anatomy, ZarrStore] | None = None
        for given in self.interventions:
            self.find_site(given.address)
        check_interventions(loaded.structure, self.sites, self.interventions, context=loaded.context)
        self.watcher = self._watch_with(self.recording)

    @cached_property
    def prompt(self) -> str:
        """The text it was given, which need not be what its ids read as; decoded from those where there was none."""
        if self._prompt is not None:
            return self._prompt
        return self.loaded.decode(self.token_ids[: self.prompt_count], keep_special=True)

    @property
    def sites(self) -> dict[str, Site]:
        """The model's sites by address, as far as they have been checked."""
        anatomy, known = self.loaded.anatomy, self._known
        if anatomy is not None and anatomy is not known[0]:
            known = self._known = (anatomy, list_sites(anatomy))
        return known[1]

    @property
    def positions(self) -> int:
        """How many positions have been recorded."""
        return self.recording.positions

    @property
    def nbytes(self) -> int:
        """Bytes of the recording itself."""
        return self.recording.nbytes

    def _watch_with(self, recording: Recording) -> Recording | Intervened:
        if not self.interventions:
            return recording
        return Intervened(recording, self.loaded.structure, self.interventions)

    def give_up(self) -> bool:
        """Give the residuals' memory up until somebody asks; False while somebody reads them, or a run goes on."""
        if self.is_running or not self._lock.acquire(blocking=False):
            return False
        self.recording.clear()
        self._lock.release()
        return True

    def append_token(self, token_id: int) -> None:
        """Add a generated token; its activations follow when the model reads it."""
        self.token_ids.append(token_id)

    def subscribe(self, addresses: list[str], send: Send) -> Callable[[], None]:
        """Send live frames of `addresses`; raises UnknownAddress for one that is refused."""
        for address in addresses:
            self.require_site(address)
        return self.recording.subscribe(addresses, send)

    def find_site(self, address: str) -> Site | None:
        """The site of that address, checked now if it has not been."""
        site = self.sites.get(address)
        if site is not None and site.check.status == "unchecked":
            self.loaded.check_site(address)
            site = self.sites.get(address)
        return site

    def require_site(self, address: str) -> Site:
        """The site of that address, checked. Raises UnknownAddress, with the reason where the site is refused."""
        site = self.find_site(address)
        if site is None:
            raise UnknownAddress(address)
        if site.check.status == "refused":
            raise UnknownAddress(address, f"{address} is refused: {site.check.reason}.")
        return site

    # --- reading -----------------------------------------------------------------------------------

    def shape(self, site: Site, positions: int | None = None) -> tuple[int, ...]:
        """The shape of a site now (or at an earlier number of positions)."""
        count = self.positions if positions is None else positions
        return tuple(count if size is None else size for size in site.shape)

    def read(self, address: str, region: Region | None = None, *, copies: bool = False) -> Array:
        """Cells of a site as float32, all of it or a region in its axis order.

        They may be the recording's own memory, to look at only, unless `copies` is set. Raises UnknownAddress for a
        site that does not exist or is refused.
        """
        site = self.require_site(address)
        shape = self.shape(site)
        where = region or tuple(slice(0, size) for size in shape)
        cells, is_held = self._read(site, where)
        return to_numpy(cells.clone() if copies and is_held else cells)

    def read_rows(
        self, address: str, start: int, stop: int, level: int = 0, *, most_cells: int | None = None
    ) -> Array:
        """The rows of positions `start` to `stop` as a level of the store has them, with the keys before `stop`.

        Of a coarse level these are the rows that pool any of those positions, of a recording that ends at `stop`.
        Raises UnknownAddress, and BadValue for positions that are not recorded, for a level that is not there, and
        for more than `most_cells`.
        """
        site = self.require_site(address)
        axis = next((axis for axis, name in enumerate(site.axes) if name in ("pos", "query")), -1)
        if axis != len(site.axes) - 2:
            raise BadValue(f"{address} has no rows that follow positions.", field="address")
        if not 0 <= start < stop <= self.positions:
            raise BadValue(
                f"stop must be from start + 1 to {self.positions}, the positions recorded.", field="stop"
            )
        shape = self.shape(site, stop)
        if not 0 <= level < count_levels(shape):
            raise BadValue(f"level must be below {count_levels(shape)} for {stop} positions.", field="level")
        region = tuple(
            slice(start >> level if place == axis else 0, size)
            for place, size in enumerate(level_shape(shape, level))
        )
        cells = math.prod(part.stop - part.start for part in region)
        if most_cells is not None and cells > most_cells:
            raise BadValue("These are too many cells for one answer; ask for fewer positions.", field="stop")
        return read_level(partial(self.read, address), shape, level, region, "magnitude")

    def read_logits(self, pos: int) -> Tensor:
        """Logits at one recorded position, [vocab]. Raises BadValue for a position that is not recorded."""
        if not 0 <= pos < self.positions:
            raise BadValue(
                f"pos must be from 0 to {self.positions - 1}, the positions recorded so far.", field="pos"
            )
        return self._tail("lm_head", slice(pos, pos + 1))[0]

    def _read(self, site: Site, where: Region) -> tuple[Tensor, bool]:
        """Cells of a site, and whether they are held here; others are computed each time."""
        if site.block is None and site.point != "embeddings":
            return self._tail(site.point, where[0])[:, where[1]], False
        if site.provenance == "recorded" and site.block is not None:
            with self._lock:
                self._restore()
                return self.recording.residual(site.block + (site.point == "resid_post"))[where], True
        sites = self.block_sites(site.block or 0)
        if site.point in PATTERNS and sites.call is not None:
            return form_pattern(sites.call, site.point, where), False
        return sites.values[site.address][where], True

    def block_sites(self, block: int) -> BlockSites:
        """All sites of a block for every recorded position, materialised if they are not at hand."""
        found = self._cache.find(self.id, block, self.positions)
        if found is not None:
            return found
        with self._lock:
            # Of several that ask at once one does the work.
            return self._cache.find(self.id, block, self.positions) or self._materialise(block)

    def _materialise(self, block: int) -> BlockSites:
        self._restore()
        self.loaded.check_site(f"resid_pre.{block}")
        with self.loaded.lock:
            # Only here: until the lock is held a step may replace the rows of all positions, and what fewer of them
            # give is not what these are.
            positions = self.positions
            wanted = [
                site.address
                for site in self.sites.values()
                if (site.block == block or (block == 0 and site.point == "embeddings"))
                and site.check.status != "refused"
            ]
            structure = self.loaded.structure
            with applied(structure, inside_block(self.interventions, block), 0, positions):
                sites = materialise_block(
                    structure,
                    block,
                    wanted,
                    torch.tensor(self.token_ids[:positions]),
                    self.recording.residual(block, positions),
                    self.recording.residual(block + 1, positions),
                    into_next=lambda after: change_input(structure, self.interventions, block + 1, after),
                )
        check_whole(sites, {address: self.shape(self.sites[address], positions) for address in wanted})
        self.batched_difference = max(self.batched_difference or 0.0, sites.difference)
        self._cache.keep(self.id, block, sites)
        return sites

    def _tail(self, point: str, rows: slice) -> Tensor:
        with self._lock, self.loaded.lock:
            self._restore()
            blocks = len(self.loaded.structure.blocks)
            residual = self.recording.residual(blocks)[rows].to(self.loaded.device)
            if point != "final_norm":
                return rerun_tail(self.loaded.structure, residual)
            capture = Capture(self.loaded.structure, ["final_norm"])
            rerun_final_norm(self.loaded.structure, residual, capture)
            return capture.values["final_norm"]

    def _restore(self) -> None:
        """Run the tokens again if the residuals were given up. Under `_lock`, as everything that reads them."""
        if self.recording.is_held:
            return
        count = self.positions
        # Into a recording of its own, so that nobody meets one that is half made.
        again = Recording(self.loaded.structure, self.id)
        with self.loaded.lock, self._watch_with(again).watch(slice(0, count), 0, count):
            run_blocks(self.loaded.structure, torch.tensor(self.token_ids[:count], device=self.loaded.device))
        self.recording.take_over(again)

    # --- answers -----------------------------------------------------------------------------------

    def value(self, address: str, index: list[int]) -> float:
        """One cell of a site."""
        return float(self.read(address, tuple(slice(i, i + 1) for i in index)).reshape(()))

    def zarr_store(self) -> ZarrStore:
        """The recording's store as it is now."""
        positions, anatomy = self.positions, self.loaded.anatomy or self._known[0]
        if self._store is None or self._store[0] != positions or self._store[1] is not anatomy:
            self._store = (positions, anatomy, self._make_store(positions))
        return self._store[2]

    def freeze(self, addresses: Sequence[str] | None = None) -> ZarrStore:
        """The store of what is recorded, for good; only of `addresses`, where given. What a saved folder holds."""
        positions = self.positions
        for address in list(self.sites):
            self.find_site(address)
        views = self._make_views(positions)
        chosen = (
            views if addresses is None else {address: views[address] for address in dict.fromkeys(addresses)}
        )
        # With a last token that stands past the context: there is no position to read it at, but it was written.
        everything = {
            **self._describe(len(self.token_ids)),
            "positions": positions,
            "text": self.loaded.decode(self.token_ids),
        }
        return ZarrStore(chosen, everything, growing=False)

    def _make_store(self, positions: int) -> ZarrStore:
        # A text that outgrows this kind of rotary embedding is read anew as a whole, and its rows are then others.
        lasting = "longrope" not in find_rope_types(self.loaded.config)
        return ZarrStore(
            self._make_views(positions), self._describe(positions), growing=True, lasting=lasting
        )

    def _make_views(self, positions: int) -> dict[str, ArrayView]:
        return {
            site.address: ArrayView(
                shape=self.shape(site, positions),
                axes=tuple(site.axes),
                read=lambda region, address=site.address: self.read(address, region),  # type: ignore[misc]
                attributes={"address": site.address, "provenance": site.provenance, "units": "1"},
            )
            for site in self.sites.values()
            if site.check.status != "refused" and math.prod(self.shape(site, positions)) > 0
        }

    def _describe(self, count: int) -> dict[str, Any]:
        """The attributes of the store, with the first `count` tokens."""
        return {
            "model_id": self.loaded.model_id,
            "token_ids": self.token_ids[:count],
            "prompt_count": self.prompt_count,
            "tokens": [token.text for token in self.loaded.tokens(self.token_ids[:count])],
            "interventions": [given.model_dump() for given in self.interventions],
        }

    def zarr_get(self, key: str) -> ZarrReply:
        """The bytes of one key of the store. Raises UnknownKey."""
        return self.zarr_store().get(key)
