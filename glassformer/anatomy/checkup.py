"""Checking the model's own description of itself, a part at a time: each block, then what comes after the last.

The anatomy is there as soon as the model has run once (`outline.py`); each part of it is filled when somebody looks at
it, or when its turn comes. Costs: two forwards of the check's prompt to begin with, and about two in all for the parts.
What is captured stays in memory until its part has been checked. Any thread; the model's lock is held for one forward,
or one part, at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from glassformer.anatomy.candidate import Candidates
from glassformer.anatomy.measurement import Measurement, keep_true_attention, make_check_prompt
from glassformer.anatomy.outline import BLOCK_POINTS, Outline, describe_unread, list_addresses
from glassformer.anatomy.selfcheck import Finding, SelfCheck
from glassformer.anatomy.settle import settle
from glassformer.compute.attention import select_attention
from glassformer.compute.shortage import is_shortage
from glassformer.errors import ModelFailed, NoRoom
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Anatomy, Check, Site
from glassformer.structure.naming import say_plainly

log = logging.getLogger(__name__)

Heard = Callable[[], object]


def build_anatomy(loaded: LoadedModel, on_fraction: Callable[[float], None] | None = None) -> Anatomy:
    """Read, check and describe a loaded model; also selects the attention tap where the family allows it.

    `on_fraction` hears the share of blocks that are done.
    A model whose trunk cannot be found is described without sites, with the reason in `refused`. Raises ModelFailed.
    """
    checkup = Checkup(loaded)
    if checkup.survey() is None:
        raise ModelFailed("Looking into the model failed; the log says why.")
    while checkup.check_next():
        if on_fraction:
            on_fraction(checkup.anatomy.checked / len(checkup.anatomy.blocks))
    return checkup.anatomy


class Checkup:
    """The checks of one model that are still to be made, and the anatomy as far as they have come.

    A part is the number of a block, which block 0 shares with the embeddings, or the number after the last for the end.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded: LoadedModel | None = loaded
        self._lock = loaded.lock
        self._measurement: Measurement | None = None
        self._outline: Outline | None = None
        self._candidates: Candidates | None = None
        self._anatomy: Anatomy | None = None
        self._unchecked: list[int] = []
        self._failed = False
        self._listeners: list[Heard] = []
        self.is_ended = False
        self.order: list[int] = []
        """The parts that have been checked, in the order in which they were."""

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy as far as it is known. After `survey`."""
        assert self._anatomy is not None
        return self._anatomy

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to check."""
        return self._failed or (self._anatomy is not None and not self._unchecked)

    def end(self) -> None:
        """Tell who listens that the model has been unloaded, and nothing more will be checked in its own time."""
        self.is_ended = True
        self._tell()

    def _tell(self) -> None:
        for heard in list(self._listeners):
            heard()

    def listen(self, heard: Heard) -> Callable[[], None]:
        """Call `heard` after each part, from the thread that checked it; gives a function that ends that."""
        self._listeners.append(heard)

        def stop() -> None:
            if heard in self._listeners:
                self._listeners.remove(heard)

        return stop

    # --- what a model has --------------------------------------------------------------------------

    def prepare(self) -> None:
        """The first of the two forwards that `survey` needs, for who lets others in between."""
        with self._lock:
            if self._anatomy is None and not self._failed:
                self._try(self._measure)

    def survey(self) -> Anatomy | None:
        """The anatomy as far as it has been checked. Runs the model the first time.

        None for a model that this fails for, or where there is no memory for it now: it still writes.
        """
        with self._lock:
            self.prepare()
            if self._anatomy is None and self._measurement is not None:
                self._try(self._describe)
            return self._anatomy

    def _try(self, work: Callable[[LoadedModel], None]) -> None:
        assert self._loaded is not None
        loaded = self._loaded
        before = str(loaded.model.config._attn_implementation)
        try:
            work(loaded)
        except Exception as exc:
            if is_shortage(exc):
                # Whoever asks next tries anew; until then it writes as it did.
                log.warning("there is no memory to look into %s now", loaded.model_id)
                self._measurement = self._outline = self._candidates = None
                self._unchecked = []
                select_attention(loaded.model, before)
                return
            log.exception("looking into %s failed", loaded.model_id)
            self._failed = True
            self._keep_true_attention()
            self._let_go()

    def _measure(self, loaded: LoadedModel) -> None:
        if self._measurement is not None:
            return
        prompt = make_check_prompt(loaded.vocab, loaded.context, loaded.device)
        try:
            measurement = Measurement(loaded.structure, prompt, loaded.context)
        except (ValueError, AttributeError, LookupError) as exc:
            self._show(describe_unread(loaded, say_plainly(exc)))
            return
        measurement.run_plain()
        self._measurement = measurement

    def _describe(self, loaded: LoadedModel) -> None:
        structure, measurement = loaded.structure, self._measurement
        assert measurement is not None
        measurement.run_tapped(list_addresses(len(structure.blocks)))
        fault = measurement.find_fault()
        if fault is not None:
            self._show(describe_unread(loaded, fault))
            return
        self._outline = Outline(loaded, structure, measurement)
        self._candidates = Candidates(structure)
        self._unchecked = list(range(len(structure.blocks) + 1))
        self._show(self._outline.describe())

    def _keep_true_attention(self) -> None:
        """For a model whose inside cannot be checked: nothing has compared what it says through the tap and without."""
        assert self._loaded is not None
        loaded = self._loaded
        try:
            prompt = make_check_prompt(loaded.vocab, loaded.context, loaded.device)
            keep_true_attention(loaded.model, prompt)
        except Exception:
            log.exception("comparing attention of %s failed", loaded.model_id)

    def _show(self, anatomy: Anatomy) -> None:
        assert self._loaded is not None
        self._anatomy = self._loaded.anatomy = anatomy
        if anatomy.refused is not None:
            self._keep_true_attention()
        if not self._unchecked:
            self._let_go()

    def _let_go(self) -> None:
        """Give up what was captured, and what leads from a model to its checkup and back."""
        self._loaded = self._measurement = self._outline = self._candidates = None

    # --- checking ----------------------------------------------------------------------------------

    def check_site(self, address: str) -> None:
        """Check the part that a site belongs to, if it has not been. Nothing happens for an unknown address.

        Raises NoRoom where there is no memory for that now; the part is then as unchecked as before.
        """
        point, block = split_address(address)
        self.check(block if block is not None else 0 if point == "embeddings" else -1)

    def check(self, part: int) -> None:
        """Check a part, if it has not been; -1 is the end."""
        with self._lock:
            self.survey()
            if part == -1 and self._unchecked:
                part = self._unchecked[-1]
            if part not in self._unchecked:
                return
            anatomy = self._check_part(part)
            self._unchecked.remove(part)
            self.order.append(part)
            self._show(anatomy.model_copy(update={"checked": len(self.order)}))
        self._tell()

    def check_next(self) -> bool:
        """Check the first part that has not been; False where there is none."""
        with self._lock:
            self.survey()
            if self._unchecked:
                self.check(self._unchecked[0])
            return bool(self._unchecked)

    def _check_part(self, part: int) -> Anatomy:
        """The anatomy with a part checked. A check that fails refuses its sites, and harms nothing else."""
        assert self._loaded is not None
        count = len(self._loaded.structure.blocks)
        what = f"block {part}" if part < count else "the end"
        if part == count:
            addresses = ["final_norm", "lm_head"]
        else:
            addresses = [f"{point}.{part}" for point in BLOCK_POINTS]
            addresses = ["embeddings", *addresses] if part == 0 else addresses
        try:
            return self._fill(self._find_each(part, addresses), part)
        except Exception as exc:
            if is_shortage(exc):
                raise NoRoom(f"There is no memory now to check {what} of the model.") from exc
            log.exception("checking %s of %s failed", what, self._loaded.model_id)
            check = Check(status="refused", reason=f"its check failed ({type(exc).__name__})")
            return self._fill({address: Finding(False, None, check) for address in addresses}, part)

    def _find_each(self, part: int, addresses: list[str]) -> dict[str, Finding]:
        assert self._loaded is not None
        assert self._measurement is not None
        assert self._candidates is not None
        structure, measurement = self._loaded.structure, self._measurement
        if part == len(structure.blocks):
            measurement.check_end()
        else:
            measurement.check_rerun(part)
        findings: dict[str, Finding] = {}
        if part > 0:
            # What the block before hands on is the one thing of another part that equations read.
            measurement.check_rerun(part - 1)
            before = f"resid_post.{part - 1}"
            status = Check(status="exact" if measurement.stands(before) else "refused")
            findings[before] = Finding(status.status == "exact", None, status)
        selfcheck = SelfCheck(measurement)
        for address in addresses:
            point, block = split_address(address)
            held = self._candidates.count_held(point)
            found = selfcheck.check(address, self._candidates.propose(point, block), held)
            if found.check.status != "undecided":
                self._candidates.confirm(address, found.proposed)
            findings[address] = found
        settled = settle(findings, hands_patterns=structure.untapped is not None)
        if part < len(structure.blocks):
            measurement.forget(part)
        return {address: settled[address] for address in addresses}

    def _fill(self, findings: dict[str, Finding], part: int) -> Anatomy:
        """The anatomy with the sites of one part filled."""
        anatomy, outline = self.anatomy, self._outline
        assert outline is not None

        def fill(sites: list[Site]) -> list[Site]:
            return [
                outline.fill(site, findings[site.address]) if site.address in findings else site
                for site in sites
            ]

        changed: dict[str, object] = {}
        if part == len(anatomy.blocks):
            changed["after"] = fill(anatomy.after)
        else:
            blocks = list(anatomy.blocks)
            blocks[part] = blocks[part].model_copy(update={"sites": fill(blocks[part].sites)})
            changed["blocks"] = blocks
        if part == 0:
            changed["before"] = fill(anatomy.before)
        return anatomy.model_copy(update=changed)
