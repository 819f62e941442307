"""What is recorded of a text, and any cell of any site of it on demand; made again where it had to be given up.

Knows no HTTP. Memory: the recording's residuals; blocks that have been run again are kept where the keeper has room.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from glassformer.capture.capture import Capture
from glassformer.capture.rerun import rerun_final_norm, rerun_tail
from glassformer.errors import BadValue, InUse, UnknownAddress, UnknownTrace
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.anatomy import Anatomy, Site, list_sites
from glassformer.protocol.messages import Intervention
from glassformer.run.admission import estimate_run
from glassformer.run.intervention import (
    Intervened,
    applied,
    change_input,
    check_interventions,
    inside_block,
)
from glassformer.run.materialise import PATTERNS, BlockSites, check_whole, form_pattern, materialise_block
from glassformer.run.rebuild import rebuild
from glassformer.run.recording import Recording, Send, to_numpy
from glassformer.run.turn import Turns
from glassformer.tiles.level import Array, Region, count_levels, level_shape, read_level


class Answer(Protocol):
    """Something that was made of a recording, and is worth keeping until it is asked for again."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


class Keeper(Protocol):
    """Where recordings find room, and their blocks are kept between questions; may forget any of those."""

    def find(self, run_id: str, block: int, positions: int) -> BlockSites | None:
        """A block's sites for at least `positions` positions, if still there."""

    def keep(self, run_id: str, block: int, sites: BlockSites) -> None:
        """Keep them for a while."""

    def find_answer(self, run_id: str, key: Hashable) -> Answer | None:
        """What was answered to a question about a recording, if still there."""

    def keep_answer(self, run_id: str, key: Hashable, answer: Answer) -> None:
        """Keep it for a while."""

    def drop_blocks(self, run_id: str) -> None:
        """Keep no block of a recording any more, and no answer: its rows are others now."""

    def make_room(self, recorded: Recorded, needed_bytes: int) -> None:
        """Have others give their memory up for one that needs so many bytes more."""

    def note_change(self, run_id: str) -> None:
        """The rows of a recording are not those any more that others have begun with."""


class Recorded:
    """A recording with everything needed to answer questions about it. Safe to ask from several threads.

    `watcher` is what a run gives to the engine: it records, and applies the interventions, if there are any. Raises
    BadValue for a model that cannot be looked into, and for interventions that cannot be applied.
    """

    def __init__(
        self,
        run_id: str,
        loaded: LoadedModel,
        token_ids: list[int],
        keeper: Keeper,
        *,
        interventions: Sequence[Intervention] = (),
        most_positions: int | None = None,
    ) -> None:
        self.id = run_id
        self.model_id = loaded.model_id
        self.token_ids = list(token_ids)
        self.interventions = tuple(interventions)
        self.batched_difference: float | None = None
        self.is_running = False
        self.is_forgotten = False
        self._loaded: LoadedModel | None = loaded
        # As one: threads that meet while it is renewed must not take the sites of another anatomy for its own.
        self._known = check_model(loaded)
        self._keeper = keeper
        self._pins = 0
        self._pin_lock = threading.Lock()
        # Held while something is made that several may ask for at once; never waited for with the model's lock held.
        self._making = threading.RLock()
        # Of those who ask the same; never waited for with either of the above held.
        self._turns = Turns()
        self._check_interventions()
        self.recording = Recording(loaded.structure, run_id, most_positions)
        self.watcher = self._watch_with(self.recording)

    @property
    def loaded(self) -> LoadedModel:
        """The model. Raises InUse where it is not in memory just now."""
        if self._loaded is None:
            raise InUse("The model of this recording has just been unloaded; ask again.", field="trace_id")
        return self._loaded

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

    def _check_interventions(self) -> None:
        for given in self.interventions:
            self.find_site(given.address)
        check_interventions(
            self.loaded.structure, self.sites, self.interventions, context=self.loaded.context
        )

    def _watch_with(self, recording: Recording) -> Recording | Intervened:
        if not self.interventions:
            return recording
        return Intervened(recording, self.loaded.structure, self.interventions)

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
        return self.describe_site(site)

    def describe_site(self, site: Site) -> Site:
        """A site as it is here: rows that were made again, and came out otherwise, are not those recorded."""
        if site.provenance != "recorded" or self.recording.rebuilt_difference is None:
            return site
        return site.model_copy(update={"provenance": "rebuilt"})

    # --- memory --------------------------------------------------------------------------------------

    def give_up(self) -> bool:
        """Give the residuals' memory up until somebody asks; False while somebody reads them, or a run goes on."""
        with self._pin_lock:
            if self._pins or self.is_running or not self.recording.is_held or not self.positions:
                return False
            self.recording.clear()
            return True

    @contextmanager
    def holding_rows(self) -> Iterator[None]:
        """Have the residuals in memory meanwhile, made again if they were given up.

        Raises UnknownTrace where the recording has been deleted, InUse where its model has been unloaded.
        """
        with self._pin_lock:
            self._pins += 1
        try:
            if self.is_forgotten:
                raise UnknownTrace(self.id)
            if not self.recording.is_held:
                with self._once():
                    self._restore()
            yield
        finally:
            with self._pin_lock:
                self._pins -= 1

    @contextmanager
    def _once(self) -> Iterator[None]:
        """Of several threads that make the same, let one do the work and the others wait for it.

        Who holds the model's lock does it alone: the one waited for may need that lock.
        """
        if self.loaded.lock.is_owned():
            yield
            return
        with self._making:
            yield

    def _restore(self) -> None:
        """Run the tokens again if the residuals were given up, a piece at a time."""
        if self.recording.is_held:
            return
        loaded, count = self.loaded, self.positions
        self._keeper.make_room(self, estimate_run(loaded, count))
        # Into a recording of its own, so that nobody meets one that is half made.
        again = Recording(loaded.structure, self.id, count)
        path = self.recording.path
        for _ in rebuild(loaded, self.token_ids[:count], path, self._watch_with(again)):
            if self.is_forgotten:
                raise UnknownTrace(self.id)
        before = self.recording.rewritten
        self.recording.take_over(again)
        if self.recording.rewritten != before:
            self.batched_difference = None
            self._keeper.drop_blocks(self.id)
            self._keeper.note_change(self.id)

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

    def find_answer(self, key: Hashable) -> Answer | None:
        """What `keep_answer` was given for `key`, if it is still there and the rows are those it was made of."""
        return self._keeper.find_answer(self.id, (self.recording.rewritten, key))

    def keep_answer(self, key: Hashable, answer: Answer, rewritten: int) -> None:
        """Keep what was made of the rows that had been rewritten so many times."""
        self._keeper.keep_answer(self.id, (rewritten, key), answer)

    @contextmanager
    def answering(self, key: Hashable) -> Iterator[None]:
        """Of several threads that are about to make the same answer, let one go first and the others wait for it.

        Who holds the model's lock does not wait: the one that goes first may need that lock.
        """
        if self.loaded.lock.is_owned():
            yield
            return
        with self._turns.take(key):
            yield

    def value(self, address: str, index: list[int]) -> float:
        """One cell of a site."""
        return float(self.read(address, tuple(slice(i, i + 1) for i in index)).reshape(()))

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
        if site.provenance in ("recorded", "rebuilt") and site.block is not None:
            with self.holding_rows():
                return self.recording.residual(site.block + (site.point == "resid_post"))[where], True
        sites = self.block_sites(site.block or 0)
        if site.point in PATTERNS and sites.call is not None:
            return form_pattern(sites.call, site.point, where), False
        return sites.values[site.address][where], True

    def block_sites(self, block: int) -> BlockSites:
        """All sites of a block for every recorded position, materialised if they are not at hand."""
        found = self._keeper.find(self.id, block, self.positions)
        if found is not None:
            return found
        with self.holding_rows(), self._once():
            # Of several that ask at once one does the work.
            return self._keeper.find(self.id, block, self.positions) or self._materialise(block)

    def pattern_sites(self, block: int) -> BlockSites:
        """What attention saw in a block, without its other sites unless they are at hand.

        Not kept: whoever goes through all blocks of a long text would have what others look at make way.
        """
        found = self._keeper.find(self.id, block, self.positions)
        if found is not None:
            return found
        with self.holding_rows():
            return self._run_again(block, ["attn_probs"])

    def _materialise(self, block: int) -> BlockSites:
        sites = self._run_again(block)
        self.batched_difference = max(self.batched_difference or 0.0, sites.difference)
        self._keeper.keep(self.id, block, sites)
        return sites

    def _run_again(self, block: int, points: Sequence[str] | None = None) -> BlockSites:
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
                and (points is None or site.point in points)
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
        return sites

    def _tail(self, point: str, rows: slice) -> Tensor:
        with self.holding_rows(), self.loaded.lock:
            blocks = len(self.loaded.structure.blocks)
            residual = self.recording.residual(blocks)[rows].to(self.loaded.device)
            if point != "final_norm":
                return rerun_tail(self.loaded.structure, residual)
            capture = Capture(self.loaded.structure, ["final_norm"])
            rerun_final_norm(self.loaded.structure, residual, capture)
            return capture.values["final_norm"]


def check_model(loaded: LoadedModel) -> tuple[Anatomy, dict[str, Site]]:
    """The anatomy of a model and its sites. Raises BadValue for one that cannot be looked into."""
    anatomy = loaded.read_anatomy()
    if anatomy is None:
        raise BadValue("Looking into this model failed.", field="model_id")
    if anatomy.refused is not None:
        raise BadValue(f"This model cannot be looked into: {anatomy.refused}.", field="model_id")
    return anatomy, list_sites(anatomy)
