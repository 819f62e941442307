"""Running the anatomy's own equations against what the model computed, on a short prompt.

One forward under hooks for every site, one forward with the family's own eager attention to compare with; then, block
by block (`anatomy.py`), each block alone and each site's candidate equations until one holds. Memory: every site of
`CHECK_TOKENS` positions, until its block has been checked.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.anatomy.comparison import compare, is_same, worse_of
from glassformer.anatomy.eager import Eager, run_eager
from glassformer.anatomy.far import PLACED_POINTS, Far
from glassformer.capture.capture import Capture, locate
from glassformer.capture.operands import CapturedOperands
from glassformer.capture.rerun import rerun_block, rerun_tail
from glassformer.compute.attention import UnknownAttention, install, select_attention
from glassformer.compute.attention_call import AttentionCall, compute_probabilities
from glassformer.compute.computing import computing
from glassformer.compute.generate import make_whole_arguments
from glassformer.compute.hooking import hook_output
from glassformer.compute.overflow import advise, blank_shared, is_overflowing
from glassformer.compute.position_limit import list_limits
from glassformer.compute.shortage import is_shortage
from glassformer.errors import UnknownAddress
from glassformer.operation.closed_set import compute_whole
from glassformer.operation.equation import close_factor, find_open
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Check, Equation
from glassformer.structure.structure import Refusal, Structure

log = logging.getLogger(__name__)

# Long enough for every head to choose between several keys, short enough to cost milliseconds.
CHECK_TOKENS = 16


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


class Measurement(CapturedOperands):
    """What the model computed for the check prompt: the operands of every equation."""

    def __init__(self, structure: Structure, token_ids: Tensor, context: int = 0) -> None:
        """`context` is the longest text that the model takes; 0 looks no further than the prompt."""
        super().__init__(structure, token_ids)
        self._context = context
        # The prompt itself has positions on both sides of a place up to half its length.
        self._limits = [
            limit
            for limit in list_limits(structure.model.config, context)
            if limit.kind != "other" and limit.position > len(token_ids) - len(token_ids) // 2
        ]
        self._fars: dict[int, list[Far]] = {}
        self._eager: Eager | None = None
        # Blocks that have been run alone.
        self._rerun: set[int] = set()
        # How often each block ran in the captured forward.
        self._runs: Counter[int] = Counter()

    def run(self, addresses: Iterable[str]) -> None:
        """Run the model once with its own eager attention and once through the tap, capturing `addresses`."""
        self.run_eager()
        self.run_tapped(addresses)

    @torch.inference_mode()
    def run_eager(self) -> None:
        """Run the model with its own eager attention. What it had is selected again: others may come between."""
        model = self._structure.model
        before = model.config._attn_implementation
        # Families that have no choice of attention keep the one they have.
        select_attention(model, "eager")
        try:
            with computing(len(self._token_ids), "check"):
                self._eager = run_eager(self._structure, self._token_ids)
        finally:
            select_attention(model, str(before))

    @torch.inference_mode()
    def run_tapped(self, addresses: Iterable[str]) -> None:
        """Run the model through the tap, capturing `addresses`. After `run_eager`.

        A model that the tap would make say something else keeps its eager attention.
        """
        model, structure, eager = self._structure.model, self._structure, self._eager
        assert eager is not None
        structure.untapped = None
        if not install(model):
            structure.untapped = "this family computes attention outside the shared attention interface"
            eager.compare_with_plain(structure, self._token_ids)
        try:
            capture, logits = self._run_captured(addresses)
            is_changed = structure.untapped is None and not is_same(*blank_shared(logits, eager.logits))
            if is_changed:
                # Which of them is not what the model computes: the tap, or eager attention asked for its inside?
                select_attention(model, "eager")
                eager.compare_with_plain(structure, self._token_ids)
                is_changed = not is_same(*blank_shared(logits, eager.logits))
                install(model)
        except UnknownAttention:
            is_changed = True
        if is_changed:
            select_attention(model, "eager")
            eager.compare_with_plain(structure, self._token_ids)
            structure.untapped = "the attention tap changes what this family computes"
            capture, logits = self._run_captured(addresses)
        self._capture = capture
        self.values |= capture.values
        self.values["lm_head"] = logits
        for block, call in capture.calls.items():
            self.values |= form_patterns(block, call)
        for address in capture.addresses - self.values.keys():
            self.refusals[address] = "the model never ran the module that should give it"

    def _run_captured(self, addresses: Iterable[str]) -> tuple[Capture, Tensor]:
        self.refusals = {}
        capture = Capture(self._structure, self._locatable(addresses))
        self._runs.clear()
        handles = [
            hook_output(block, partial(self._note_run, index))
            for index, block in enumerate(self._structure.blocks)
        ]
        try:
            with capture.open(), computing(len(self._token_ids), "check"):
                logits: Tensor = self._structure.run(self._token_ids).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return capture, logits

    def _note_run(self, block: int, _: nn.Module, args: Any, output: Any) -> None:
        self._runs[block] += 1
        if block == 0:
            self._structure.handed = len(output) if isinstance(output, (tuple, list)) else 0

    def _locatable(self, addresses: Iterable[str]) -> list[str]:
        found = []
        for address in addresses:
            place = locate(self._structure, *split_address(address))
            if isinstance(place, Refusal):
                self.refusals[address] = place.reason
            else:
                found.append(address)
        return found

    def find_fault(self) -> str | None:
        """Why nothing of this model can be recorded; None if each block adds once to one vector a position."""
        blocks = range(len(self._structure.blocks))
        if any(f"resid_{side}.{b}" not in self.values for b in blocks for side in ("pre", "post")):
            return "not all of its blocks run on text alone"
        if max(self._runs.values(), default=0) > 1:
            # An address names one tensor; of such a block there is one for each time that it ran.
            return "some of its blocks run more than once in a forward"
        shapes = {tuple(self.values[f"resid_{side}.{b}"].shape) for b in blocks for side in ("pre", "post")}
        wanted = (len(self._token_ids), self._structure.arch.d_model)
        if len(shapes) > 1 or any(shape != wanted for shape in shapes):
            return "what its blocks hand on is not one vector of the model's width for each position"
        return None

    def check_rerun(self, block: int) -> None:
        """Refuse every site that running its one block again from its input does not give. Done once."""
        if block in self._rerun:
            return
        self._rerun.add(block)
        wanted = self._list_captured(block)
        if f"resid_pre.{block}" not in wanted:
            return
        capture = Capture(self._structure, wanted)
        try:
            rerun_block(self._structure, block, self._token_ids, self.values[f"resid_pre.{block}"], capture)
        except Exception as exc:
            if is_shortage(exc):
                self._rerun.discard(block)
                raise
            log.debug("block %d cannot be run alone", block, exc_info=exc)
            sharing = self._structure.arch.first_kv_shared_layer
            is_sharing = sharing is not None and block >= sharing
            need = "attends to the keys of an earlier one" if is_sharing else "needs more than its input"
            self._doubt(wanted, f"this block {need}, so it cannot be run alone", block)
            return
        call = capture.calls.get(block)
        if call is not None:
            capture.values |= form_patterns(block, call)
        self._hold_reruns(wanted, capture.values, "this block, run alone, computes something else", block)

    def check_end(self) -> None:
        """Refuse the sites after the last block that running the end of the model alone does not give."""
        last = self.values.get(f"resid_post.{len(self._structure.blocks) - 1}")
        if last is None:
            return
        ends: list[str] = [a for a in ("final_norm", "lm_head") if a in self.values]
        capture = Capture(self._structure, [a for a in ends if a != "lm_head"])
        try:
            logits = rerun_tail(self._structure, last, capture)
        except Exception as exc:
            if is_shortage(exc):
                raise
            log.debug("the end of the model cannot be run alone", exc_info=exc)
            self._doubt(ends, "the end of the model needs more than the last block's output", None)
            return
        if "final_norm" in ends and "final_norm" not in capture.values:
            ends.remove("final_norm")
            self.refusals["final_norm"] = "no norm follows the last block"
        self._hold_reruns(
            ends,
            {**capture.values, "lm_head": logits},
            "the end of the model, run alone, computes something else",
            None,
        )

    def _list_captured(self, block: int) -> list[str]:
        end = f".{block}"
        return [a for a in self.values if a.endswith(end) or (block == 0 and a == "embeddings")]

    def forget(self, block: int) -> None:
        """Give up what was captured in a block, but for what the next one's equations read."""
        for address in self._list_captured(block):
            if not address.startswith("resid_post."):
                del self.values[address]
        self._fars.clear()
        if self._capture is not None:
            self._capture.values.clear()
            self._capture.calls.pop(block, None)
            self._capture.rotary.pop(block, None)
        if self._eager is not None:
            self._eager.values.pop(f"attn_probs.{block}", None)

    def _hold_reruns(
        self, addresses: list[str], values: dict[str, Tensor], reason: str, block: int | None
    ) -> None:
        differing = [
            a for a in addresses if a not in values or not is_same(*blank_shared(self.values[a], values[a]))
        ]
        # One wrong tensor may be a dead end; a wrong result means that the block needs more than its input.
        self._doubt(addresses if f"resid_post.{block}" in differing else differing, reason, block)

    def _doubt(self, addresses: list[str], reason: str, block: int | None) -> None:
        last = len(self._structure.blocks) - 1
        kept = {f"resid_pre.{block}"} | ({f"resid_post.{last}"} if block == last else set())
        for address in addresses:
            # What is recorded is not made by running anything again.
            if address not in kept:
                self.refusals[address] = reason

    # --- checking ----------------------------------------------------------------------------------

    def stands(self, address: str) -> bool:
        """Whether a value was found to be the model's own, as far as it has been looked at."""
        if address in self.refusals or address not in self.values:
            return False
        doubt = self._against_eager(address)
        return doubt is None or doubt.status != "refused"

    def check(self, address: str, candidates: Iterable[Equation]) -> Finding:
        """The first candidate that gives what the model computed, and how well; or the reason for refusing."""
        if address in self.refusals:
            return Finding(False, None, Check(status="refused", reason=self.refusals[address]))
        if address not in self.values:
            return Finding(False, None, Check(status="refused", reason="the model does not compute it"))
        if is_overflowing(self.values[address]):
            reason = f"its numbers are not finite: {advise(self.values[address].dtype)}"
            return Finding(True, None, Check(status="refused", reason=reason))
        doubt = self._against_eager(address)
        if doubt is not None and doubt.status == "refused":
            reason = f"it differs from eager attention: {doubt.reason}"
            return Finding(False, None, doubt.model_copy(update={"reason": reason}))
        actual = self.values[address]
        closest: Check | None = None
        reason = "no equation is known for it"
        try:
            fars = self._go_far(address)
        except Exception as exc:
            if is_shortage(exc):
                raise
            log.debug("running block %s further on failed", address, exc_info=exc)
            reason = f"what its config says changes further on cannot be tried ({type(exc).__name__})"
            return Finding(True, None, Check(status="refused", reason=reason))
        for proposed in candidates:
            try:
                with torch.inference_mode():
                    candidate = self._close(proposed, actual)
                    if candidate is None:
                        continue
                    expected = compute_whole(candidate, self)
            except (UnknownAddress, RuntimeError, IndexError, TypeError, ValueError) as exc:
                if is_shortage(exc):
                    raise
                reason = exc.message if isinstance(exc, UnknownAddress) else reason
                continue
            check = compare(actual, expected)
            if check.status != "refused":
                check = self._compare_far(address, candidate, fars, check)
            if check.status != "refused":
                return Finding(True, candidate, worse_of(check, doubt), proposed)
            if closest is None or (check.max_abs_difference or 0) < (closest.max_abs_difference or 0):
                closest = check
        return Finding(True, None, closest or Check(status="refused", reason=reason))

    def _go_far(self, address: str) -> list[Far]:
        """The block of a site at every place where its equation might change. Raises what the model raises there."""
        point, block = split_address(address)
        residual = self.values.get(f"resid_pre.{block}")
        has_call = self._capture is not None and block in self._capture.calls
        if point not in PLACED_POINTS or block is None or residual is None or not has_call:
            return []
        if block not in self._fars:
            self._fars = {
                block: [
                    Far(self._structure, block, self._token_ids, residual, limit, self._context)
                    for limit in self._limits
                ]
            }
        return self._fars[block]

    def _compare_far(self, address: str, candidate: Equation, fars: list[Far], near: Check) -> Check:
        """The worst that an equation does here (`near`) and at those places."""
        point, _ = split_address(address)
        for far in fars:
            if point == "attn_scores" and far.limit.kind != "span":
                continue  # without what came before, there is nothing that a mask could hide
            with torch.inference_mode():
                check = compare(far.actual(point), compute_whole(candidate, far))
            if check.status == "refused":
                where = f"from position {far.limit.position} on ({far.limit.name})"
                return check.model_copy(
                    update={"reason": f"it holds only for a while: {where}, {check.reason}"}
                )
            near = worse_of(near, check)
        return near

    def _close(self, proposed: Equation, actual: Tensor) -> Equation | None:
        """A proposed equation with its open factor found: the declared number nearest to what `actual` asks for."""
        part = find_open(proposed)
        if part is None:
            return proposed
        without = compute_whole(close_factor(proposed, 0.0), self).double().nan_to_num(neginf=0.0)
        direction = compute_whole(close_factor(proposed, 1.0), self).double().nan_to_num(neginf=0.0) - without
        size = float((direction * direction).sum())
        if size == 0.0 or direction.shape != actual.shape:
            return None
        asked = float(((actual.double().nan_to_num(neginf=0.0) - without) * direction).sum()) / size
        declared = self._structure.scalars(part.attributes.get("block"))
        nearest = min(declared, key=lambda number: abs(number - asked), default=0.0)
        return close_factor(proposed, nearest) if abs(nearest - asked) <= 1e-3 * abs(nearest) else None

    def _against_eager(self, address: str) -> Check | None:
        """Hold residuals, probabilities and logits against transformers' own eager attention, where it gives them."""
        reference = None if self._eager is None else self._eager.values.get(address)
        if reference is None:
            return None
        return compare(self.values[address], reference)


def form_patterns(block: int, call: AttentionCall) -> dict[str, Tensor]:
    """Scores and probabilities of a block's attention by address, [head, query, key]."""
    scores = call.scores()
    return {
        f"attn_scores.{block}": scores,
        f"attn_probs.{block}": compute_probabilities(scores, call.sinks),
    }


@torch.inference_mode()
def keep_true_attention(model: PreTrainedModel, token_ids: Tensor) -> None:
    """Select the tap for a model whose inside cannot be checked, if it leaves the logits of `token_ids` [pos] alone."""
    arguments = make_whole_arguments(model, token_ids)
    select_attention(model, "eager")
    with computing(len(token_ids), "check"):
        plain = model(**arguments).logits[0]
    if not install(model):
        return
    try:
        with computing(len(token_ids), "check"):
            tapped = model(**arguments).logits[0]
    except UnknownAttention:
        tapped = None
    if tapped is None or compare(tapped, plain).status == "refused":
        select_attention(model, "eager")


def make_check_prompt(vocab: int, context: int, device: torch.device) -> Tensor:
    """Token ids for the check, [pos]: spread over the vocabulary, the same every time."""
    count = max(2, min(CHECK_TOKENS, context))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocab, (count,), generator=generator).to(device)
