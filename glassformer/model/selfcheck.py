"""Running the anatomy's own equations against what the model computed, on a short prompt at load.

One forward under hooks for every site, one forward with the family's own eager attention to compare with, then
each site's candidate equations until one holds. Memory: every site of `CHECK_TOKENS` positions at once.
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

from glassformer.errors import UnknownAddress
from glassformer.model.attention import UnknownAttention, install, select_attention
from glassformer.model.capture import Capture, locate, split_address
from glassformer.model.equation import close_factor, evaluate, find_open
from glassformer.model.hooking import hook_input, hook_output
from glassformer.model.overflow import advise, blank_shared, is_overflowing
from glassformer.model.rerun import rerun_block, rerun_tail
from glassformer.model.residual import first_tensor
from glassformer.model.structure import Refusal, Structure
from glassformer.protocol.anatomy import Check, Equation

log = logging.getLogger(__name__)

# Long enough for every head to choose between several keys, short enough to cost milliseconds.
CHECK_TOKENS = 16
# Largest difference allowed, relative to the largest magnitude of the site: rounding of sums in that precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


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


class Measurement:
    """What the model computed for the check prompt: the operands of every equation (see `Operands`)."""

    def __init__(self, structure: Structure, token_ids: Tensor) -> None:
        self._structure = structure
        self._token_ids = token_ids
        self.values: dict[str, Tensor] = {}
        self.refusals: dict[str, str] = {}
        self._capture: Capture | None = None
        self._eager: Eager | None = None
        # How often each block ran in the captured forward.
        self._runs: Counter[int] = Counter()

    def run(self, addresses: Iterable[str]) -> None:
        """Run the model once with its own eager attention and once through the tap, capturing `addresses`.

        A model that the tap would make say something else keeps its eager attention.
        """
        model, structure = self._structure.model, self._structure
        with torch.inference_mode():
            # Families that have no choice of attention keep the one they have.
            select_attention(model, "eager")
            self._eager = run_eager(structure, self._token_ids)
            structure.untapped = (
                None
                if install(model)
                else "this family computes attention outside the shared attention interface"
            )
            try:
                capture, logits = self._run_captured(addresses)
                is_changed = structure.untapped is None and self._differs_from_eager(logits)
            except UnknownAttention:
                is_changed = True
            if is_changed:
                select_attention(model, "eager")
                structure.untapped = "the attention tap changes what this family computes"
                capture, logits = self._run_captured(addresses)
        self._capture = capture
        self.values |= capture.values
        self.values["lm_head"] = logits
        for block, call in capture.calls.items():
            self.values[f"attn_scores.{block}"] = call.scores()
            self.values[f"attn_probs.{block}"] = call.probabilities()
        for address in capture.addresses - self.values.keys():
            self.refusals[address] = "the model never ran the module that should give it"

    def _differs_from_eager(self, logits: Tensor) -> bool:
        # What overflows does so in any attention.
        return (
            self._eager is not None and compare(*blank_shared(logits, self._eager.logits)).status == "refused"
        )

    def _run_captured(self, addresses: Iterable[str]) -> tuple[Capture, Tensor]:
        self.refusals = {}
        capture = Capture(self._structure, self._locatable(addresses))
        self._runs.clear()
        handles = [
            hook_output(block, partial(self._note_run, index))
            for index, block in enumerate(self._structure.blocks)
        ]
        try:
            with capture.open():
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

    def check_reruns(self) -> None:
        """Refuse every site that running its one block again from its input (or the end alone) does not give."""
        for block in range(len(self._structure.blocks)):
            wanted = [
                a for a in self.values if split_address(a)[1] == block or (block == 0 and a == "embeddings")
            ]
            if f"resid_pre.{block}" not in wanted:
                continue
            capture = Capture(self._structure, wanted)
            try:
                rerun_block(
                    self._structure, block, self._token_ids, self.values[f"resid_pre.{block}"], capture
                )
            except Exception as exc:
                log.debug("block %d cannot be run alone", block, exc_info=exc)
                sharing = self._structure.arch.first_kv_shared_layer
                is_sharing = sharing is not None and block >= sharing
                need = "attends to the keys of an earlier one" if is_sharing else "needs more than its input"
                self._doubt(wanted, f"this block {need}, so it cannot be run alone", block)
                continue
            call = capture.calls.get(block)
            if call is not None:
                capture.values[f"attn_scores.{block}"] = call.scores()
                capture.values[f"attn_probs.{block}"] = call.probabilities()
            self._hold_reruns(wanted, capture.values, "this block, run alone, computes something else", block)
        last = self.values.get(f"resid_post.{len(self._structure.blocks) - 1}")
        if last is not None:
            ends: list[str] = [a for a in ("final_norm", "lm_head") if a in self.values]
            capture = Capture(self._structure, [a for a in ends if a != "lm_head"])
            try:
                logits = rerun_tail(self._structure, last, capture)
            except Exception as exc:
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

    def _hold_reruns(
        self, addresses: list[str], values: dict[str, Tensor], reason: str, block: int | None
    ) -> None:
        differing = [
            a
            for a in addresses
            if a not in values or compare(*blank_shared(self.values[a], values[a])).status == "refused"
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

    # --- Operands ----------------------------------------------------------------------------------

    def site(self, address: str) -> Tensor:
        if address not in self.values:
            raise UnknownAddress(address, self.refusals.get(address))
        return self.values[address]

    def weight(self, name: str) -> Tensor:
        return self._structure.parameter(name)

    def token_ids(self) -> Tensor:
        return self._token_ids

    def rotary(self, block: int) -> tuple[Tensor, Tensor]:
        tables = None if self._capture is None else self._capture.rotary.get(block)
        if tables is None:
            raise UnknownAddress(f"q.{block}", "the model passes no rotary tables")
        return tables

    def mask(self, block: int) -> Tensor:
        call = None if self._capture is None else self._capture.calls.get(block)
        if call is None:
            raise UnknownAddress(f"attn_scores.{block}", "the model passes no mask")
        return torch.isfinite(call.scores())

    def activate(self, block: int, x: Tensor) -> Tensor:
        return self._structure.activate(block, x)

    def run_module(self, name: str, *given: Tensor) -> Tensor:
        return self._structure.run_module(name, *given)

    # --- checking ----------------------------------------------------------------------------------

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
        for proposed in candidates:
            try:
                with torch.inference_mode():
                    candidate = self._close(proposed, actual)
                    if candidate is None:
                        continue
                    expected = evaluate(candidate, self)
            except (UnknownAddress, RuntimeError, IndexError, TypeError, ValueError) as exc:
                reason = exc.message if isinstance(exc, UnknownAddress) else reason
                continue
            check = compare(actual, expected)
            if check.status != "refused":
                return Finding(True, candidate, worse_of(check, doubt), proposed)
            if closest is None or (check.max_abs_difference or 0) < (closest.max_abs_difference or 0):
                closest = check
        return Finding(True, None, closest or Check(status="refused", reason=reason))

    def _close(self, proposed: Equation, actual: Tensor) -> Equation | None:
        """A proposed equation with its open factor found: the declared number nearest to what `actual` asks for."""
        part = find_open(proposed)
        if part is None:
            return proposed
        without = evaluate(close_factor(proposed, 0.0), self).double().nan_to_num(neginf=0.0)
        direction = evaluate(close_factor(proposed, 1.0), self).double().nan_to_num(neginf=0.0) - without
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


def worse_of(first: Check, second: Check | None) -> Check:
    """The check with the larger difference."""
    if second is None or (first.max_abs_difference or 0) >= (second.max_abs_difference or 0):
        return first
    return second


@dataclass(frozen=True, slots=True)
class Eager:
    """What the family's own eager attention gives: logits [pos, vocab], and sites by address."""

    logits: Tensor
    values: dict[str, Tensor]


def run_eager(structure: Structure, token_ids: Tensor) -> Eager:
    """Run the model with the attention it has now, keeping what transformers itself reports about its inside."""
    patterns: dict[int, list[Tensor]] = {}
    first: list[Tensor] = []

    def take_first(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first.append((args[0] if args else first_tensor(kwargs))[0].clone())

    handles = [hook_input(structure.blocks[0], take_first)]
    for block in range(len(structure.blocks)):
        attention = structure.attention(block)
        if not isinstance(attention, Refusal):
            take = partial(_take_pattern, patterns, block, len(token_ids))
            handles.append(hook_output(attention, take))
    try:
        out = structure.run(token_ids, output_attentions=True, output_hidden_states=True)
    except (TypeError, ValueError, AttributeError):
        out = None
    finally:
        for handle in handles:
            handle.remove()
    plain = structure.run(token_ids, output_attentions=False).logits[0]
    values: dict[str, Tensor] = {"lm_head": plain}
    # Asking for attention probabilities has been seen to change what is computed.
    structure.hands_patterns = out is not None and compare(out.logits[0], plain).status != "refused"
    if out is None or not structure.hands_patterns:
        return Eager(plain, values)
    for block, found in patterns.items():
        if len(found) == 1:
            values[f"attn_probs.{block}"] = found[0]
    hidden = [h[0] for h in getattr(out, "hidden_states", None) or () if isinstance(h, Tensor)]
    if len(hidden) == len(structure.blocks) + 1 and all(h.shape == hidden[0].shape for h in hidden):
        # Most families list what each block reads; some (Mamba) what each block hands on.
        reads = bool(first) and compare(hidden[0], first[0]).status != "refused"
        for block in range(len(structure.blocks) - 1):
            after = hidden[block + 1] if reads else hidden[block]
            values[f"resid_post.{block}"] = values[f"resid_pre.{block + 1}"] = after
    return Eager(plain, values)


def _take_pattern(
    patterns: dict[int, list[Tensor]], block: int, count: int, _: nn.Module, args: Any, output: Any
) -> None:
    """Keep what looks like attention probabilities among the outputs of an attention module."""
    for item in output if isinstance(output, (tuple, list)) else ():
        if isinstance(item, Tensor) and item.dim() == 4 and item.shape[2:] == (count, count):
            if float(item.min()) < 0.0 or float(item.sum(-1).max()) > 1.01:
                continue
            patterns.setdefault(block, []).append(item[0])


def compare(actual: Tensor, expected: Tensor) -> Check:
    """`exact`, `close` within the tolerance of the tensor's precision, or `refused` with the difference.

    Masked cells (`-inf`) must be masked in both.
    """
    if actual.shape != expected.shape:
        return Check(
            status="refused", reason=f"shapes differ: {list(expected.shape)} against {list(actual.shape)}"
        )
    a, b = actual.double(), expected.double()
    finite = torch.isfinite(a)
    # A NaN equals nothing, so it is refused in whichever it stands.
    if not torch.equal(finite, torch.isfinite(b)) or not torch.equal(a[~finite], b[~finite]):
        return Check(status="refused", reason="its equation is finite in other cells than the model's values")
    a, b = torch.nan_to_num(a, neginf=0.0, posinf=0.0), torch.nan_to_num(b, neginf=0.0, posinf=0.0)
    difference = float((a - b).abs().max()) if a.numel() else 0.0
    tolerance = TOLERANCES.get(actual.dtype, 1e-4) * max(float(a.abs().max()) if a.numel() else 0.0, 1e-3)
    if difference == 0.0:
        return Check(status="exact", max_abs_difference=0.0, tolerance=tolerance)
    if difference <= tolerance:
        return Check(status="close", max_abs_difference=difference, tolerance=tolerance)
    reason = f"its equation differs from the model by {difference:.3g}, more than {tolerance:.3g}"
    return Check(status="refused", max_abs_difference=difference, tolerance=tolerance, reason=reason)


@torch.inference_mode()
def keep_true_attention(model: PreTrainedModel, token_ids: Tensor) -> None:
    """Select the tap for a model whose inside cannot be checked, if it leaves the logits of `token_ids` [pos] alone."""
    select_attention(model, "eager")
    plain = model(input_ids=token_ids[None], use_cache=False).logits[0]
    if not install(model):
        return
    try:
        tapped = model(input_ids=token_ids[None], use_cache=False).logits[0]
    except UnknownAttention:
        tapped = None
    if tapped is None or compare(tapped, plain).status == "refused":
        select_attention(model, "eager")


def make_check_prompt(vocab: int, context: int, device: torch.device) -> Tensor:
    """Token ids for the check, [pos]: spread over the vocabulary, the same every time."""
    count = max(2, min(CHECK_TOKENS, context))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocab, (count,), generator=generator).to(device)
