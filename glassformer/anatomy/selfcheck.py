"""Running the anatomy's own equations against what the model computed, on a short prompt.

An equation is accepted where every cell is within what rounding explains (`comparison.py`), always by the operands of
the same run. Where rounding leaves room for several, they must be told apart, or the site says that they are not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from glassformer.anatomy.comparison import is_same_bits, judge, tell_apart, worse_of
from glassformer.anatomy.far import Far
from glassformer.anatomy.measurement import PATTERNS, Measurement
from glassformer.compute.overflow import advise, is_overflowing
from glassformer.compute.shortage import is_shortage
from glassformer.errors import UnknownAddress
from glassformer.operation.bounded import Bounded, Rounding
from glassformer.operation.closed_set import compute_bound, compute_whole
from glassformer.operation.equation import (
    close_factor,
    find_open,
    flatten_sums,
    has_constants,
    put_in,
    without_constants,
)
from glassformer.operation.operands import Operands
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Check, Equation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What checking one site gave.

    `stands` says that the value itself was found to be the model's own (or has not been put in doubt); `equation` is
    None where none of those `proposed` gives it.
    """

    stands: bool
    equation: Equation | None
    check: Check
    proposed: Equation | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """An equation that holds: as proposed, with its factor found, and how well."""

    proposed: Equation
    equation: Equation
    check: Check


class SelfCheck:
    """The equations of one block's sites, each found among candidates."""

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        # What was found so far: of the patterns of attention, which attention's own check is made from, and of all.
        self._patterns: dict[str, Equation] = {}
        self._known: dict[str, Equation] = {}

    def check(self, address: str, candidates: Iterable[Equation], held: int = 0) -> Finding:
        """The candidate that gives what the model computed, and how well; or the reason for refusing.

        The first `held` were found at other blocks, and told apart from others there.
        """
        measured = self._measurement
        if address in measured.refusals:
            return Finding(False, None, Check(status="refused", reason=measured.refusals[address]))
        if address not in measured.values:
            return Finding(False, None, Check(status="refused", reason="the model does not compute it"))
        actual = measured.values[address]
        if is_overflowing(actual):
            reason = f"its numbers are not finite: {advise(actual.dtype)}"
            return Finding(True, None, Check(status="refused", reason=reason))
        doubt = measured.find_doubt(address)
        if doubt is not None:
            return Finding(False, None, Check(status="refused", reason=doubt))
        try:
            fars = measured.go_far(address)
        except Exception as exc:
            if is_shortage(exc):
                raise
            log.debug("running block %s further on failed", address, exc_info=exc)
            reason = f"what its config says changes further on cannot be tried ({type(exc).__name__})"
            return Finding(True, None, Check(status="refused", reason=reason))
        passed, refused = self._hold_all(address, actual, candidates, fars, held)
        if not passed:
            return Finding(True, None, refused)
        chosen, check = self._choose(address, actual, self._drop_alike(passed))
        self._known[address] = chosen.equation
        if split_address(address)[0] in PATTERNS:
            self._patterns[address] = chosen.equation
        return Finding(True, chosen.equation, check, chosen.proposed)

    def _hold_all(
        self, address: str, actual: Tensor, candidates: Iterable[Equation], fars: list[Far], held: int
    ) -> tuple[list[Passed], Check]:
        """The candidates that hold, and what the nearest other one gave.

        After one that tells much (the same bits, or any that holds in float32) only those are tried that differ from it
        in their constants, which may do as well.
        """
        passed: list[Passed] = []
        shape: str | None = None
        closest = Check(status="refused", reason="no equation is known for it")
        for place, proposed in enumerate(candidates):
            if shape is not None and without_constants(proposed) != shape:
                continue
            try:
                with torch.inference_mode():
                    equation = self._close(proposed, actual)
                    if equation is None:
                        continue
                    check = self._hold(address, actual, equation)
            except (UnknownAddress, RuntimeError, IndexError, TypeError, ValueError) as exc:
                if is_shortage(exc):
                    raise
                if isinstance(exc, UnknownAddress) and closest.max_abs_difference is None:
                    closest = Check(status="refused", reason=exc.message)
                continue
            if check.status != "refused":
                check = self._hold_far(address, equation, fars, check)
            if check.status == "refused":
                far_off, nearest = check.max_abs_difference, closest.max_abs_difference
                if nearest is None or (far_off is not None and far_off < nearest):
                    closest = check
                continue
            passed.append(Passed(proposed, equation, check))
            if self._measurement.is_narrow and check.status != "exact":
                continue
            is_sure = not self._measurement.is_narrow and (check.status == "exact" or place < held)
            if is_sure or not has_constants(proposed):
                break
            shape = shape or without_constants(proposed)
        return passed, closest

    def _drop_alike(self, passed: list[Passed]) -> list[Passed]:
        """Without those that say the same as one before, once a sum that has an address is written out."""
        if len(passed) == 1:
            return passed
        sums = {address: known for address, known in self._known.items() if known.operation == "add"}
        kept: dict[str, Passed] = {}
        for one in passed:
            kept.setdefault(flatten_sums(put_in(one.equation, sums)).model_dump_json(), one)
        return list(kept.values())

    def _hold(self, address: str, actual: Tensor, equation: Equation) -> Check:
        if is_same_bits(actual, compute_whole(equation, self._measurement)):
            return Check(status="exact", max_abs_difference=0.0)
        return judge(actual, self._bound(address, equation))

    def _bound(self, address: str, equation: Equation) -> Bounded:
        rounding = self._measurement.rounding(address)
        if split_address(address)[0] == "z" and not rounding.is_fused:
            # Attention that is not fused stores its patterns, which are shown wider than that.
            equation = put_in(equation, self._patterns)
        return compute_bound(equation, self._measurement, rounding)

    def _choose(self, address: str, actual: Tensor, passed: list[Passed]) -> tuple[Passed, Check]:
        """Which of several equations that hold is the model's; `undecided` where the values cannot tell."""
        # Which bits come out tells more than how near the numbers are; but not from the same with other constants.
        exact = [one for one in passed if one.check.status == "exact"]
        shapes = {without_constants(one.proposed) for one in exact}
        others = [one for one in passed if one not in exact and without_constants(one.proposed) in shapes]
        best = [*exact, *others] if exact else passed
        if len(best) == 1:
            return best[0], best[0].check
        with torch.inference_mode():
            bounded = [self._bound(address, one.equation) for one in best]
        for at, one in enumerate(best):
            if tell_apart(actual, bounded[at], [*bounded[:at], *bounded[at + 1 :]]):
                return one, one.check
        reason = f"{len(best)} equations give these values but for rounding; this is the first of them"
        return best[0], best[0].check.model_copy(update={"status": "undecided", "reason": reason})

    def _hold_far(self, address: str, equation: Equation, fars: list[Far], near: Check) -> Check:
        """The worst that an equation does here (`near`) and at those places."""
        point, _ = split_address(address)
        for far in fars:
            if point == "attn_scores" and far.limit.kind != "span":
                continue  # without what came before, there is nothing that a mask could hide
            with torch.inference_mode():
                check = hold(far.actual(point), equation, far, self._measurement.rounding(address))
            if check.status == "refused":
                where = f"from position {far.limit.position} on ({far.limit.name})"
                return check.model_copy(
                    update={"reason": f"it holds only for a while: {where}, {check.reason}"}
                )
            near = worse_of(near, check)
        return near

    def _close(self, proposed: Equation, actual: Tensor) -> Equation | None:
        """A proposed equation with its open factor found: the declared number nearest to what `actual` asks for."""
        measured, part = self._measurement, find_open(proposed)
        if part is None:
            return proposed
        without, once = (
            compute_whole(close_factor(proposed, factor), measured).double().nan_to_num(neginf=0.0)
            for factor in (0.0, 1.0)
        )
        wanted = actual.double().nan_to_num(neginf=0.0) - without
        direction = once - without
        if direction.shape != actual.shape or not bool(direction.any()):
            return None
        # Each cell counts as much as its rounding lets it tell, or the largest alone would say what the factor is.
        size = actual.double().nan_to_num(neginf=0.0).abs() + without.abs() + direction.abs()
        wanted, direction = (each / size.clamp(min=1e-30) for each in (wanted, direction))
        asked = float((wanted * direction).sum()) / float((direction * direction).sum())
        declared = measured.declared(part.attributes.get("block"))
        nearest = min(declared, key=lambda number: abs(number - asked), default=0.0)
        return close_factor(proposed, nearest) if abs(nearest - asked) <= NEAR_FACTOR * abs(nearest) else None


# How far a declared number may be from what the values ask for, which rounding blurs; its check then tells.
NEAR_FACTOR = 5e-2


def hold(actual: Tensor, equation: Equation, operands: Operands, rounding: Rounding) -> Check:
    """How well an equation gives what was computed from the same operands."""
    if is_same_bits(actual, compute_whole(equation, operands)):
        return Check(status="exact", max_abs_difference=0.0)
    return judge(actual, compute_bound(equation, operands, rounding))
