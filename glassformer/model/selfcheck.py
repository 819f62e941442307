"""Running the anatomy's own equations against what the model computed, on a short prompt at load.

One forward under hooks for every site, one forward with the family's own eager attention to compare with, then
each site's candidate equations until one holds. Memory: every site of `CHECK_TOKENS` positions at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from glassformer.errors import UnknownAddress
from glassformer.model.attention import install, select_attention
from glassformer.model.capture import TAPPED_POINTS, Capture, locate, split_address
from glassformer.model.equation import evaluate
from glassformer.model.structure import Refusal, Structure
from glassformer.protocol.messages import Check, Equation

# Long enough for every head to choose between several keys, short enough to cost milliseconds.
CHECK_TOKENS = 16
# Largest difference allowed, relative to the largest magnitude of the site: rounding of sums in that precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}


class Measurement:
    """What the model computed for the check prompt: the operands of every equation (see `Operands`)."""

    def __init__(self, structure: Structure, token_ids: Tensor) -> None:
        self._structure = structure
        self._token_ids = token_ids
        self.values: dict[str, Tensor] = {}
        self.refusals: dict[str, str] = {}
        self._untapped: str | None = None
        self._rotary: dict[int, tuple[Tensor, Tensor]] = {}
        self._eager_probabilities: dict[int, Tensor] = {}
        self._eager_logits: Tensor | None = None

    def run(self, addresses: Iterable[str]) -> None:
        """Run the model once with its own eager attention and once through the tap, capturing `addresses`.

        A model that the tap would make say something else keeps its eager attention.
        """
        model, ids = self._structure.model, self._token_ids[None]
        with torch.inference_mode():
            if select_attention(model, "eager"):
                eager = model(input_ids=ids, use_cache=False, output_attentions=True)
                self._eager_logits = eager.logits[0]
                # `attentions` can be shorter than the blocks; then its index is not the block number.
                found = [a for a in (getattr(eager, "attentions", None) or ()) if a is not None]
                if len(found) == len(self._structure.blocks):
                    self._eager_probabilities = {block: a[0] for block, a in enumerate(found)}
            if not install(model):
                self._untapped = "this family computes attention outside the shared attention interface"
            capture, logits = self._capture(addresses)
            if self._untapped is None and self._differs_from_eager(logits):
                select_attention(model, "eager")
                self._untapped = "the attention tap changes what this family computes"
                capture, logits = self._capture(addresses)
        self.values |= capture.values
        self.values["lm_head"] = logits
        for block, call in capture.calls.items():
            self.values[f"attn_scores.{block}"] = call.scores()
            self.values[f"attn_probs.{block}"] = call.probabilities()
        self._rotary = capture.rotary
        for address in capture.addresses - self.values.keys():
            self.refusals[address] = "the model never ran the module that should give it"

    def _differs_from_eager(self, logits: Tensor) -> bool:
        return self._eager_logits is not None and compare(logits, self._eager_logits).status == "refused"

    def _capture(self, addresses: Iterable[str]) -> tuple[Capture, Tensor]:
        capture = Capture(self._structure, self._locatable(addresses))
        with capture.open():
            logits: Tensor = self._structure.model(input_ids=self._token_ids[None], use_cache=False).logits[0]
        return capture, logits

    def _locatable(self, addresses: Iterable[str]) -> list[str]:
        found = []
        for address in addresses:
            point, block = split_address(address)
            place = locate(self._structure, point, block)
            if isinstance(place, Refusal):
                self.refusals[address] = place.reason
            elif point in TAPPED_POINTS and self._untapped is not None:
                self.refusals[address] = self._untapped
            else:
                found.append(address)
        return found

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
        if block not in self._rotary:
            raise UnknownAddress(f"q.{block}", "the model passes no rotary tables")
        return self._rotary[block]

    def activate(self, block: int, x: Tensor) -> Tensor:
        return self._structure.activate(block, x)

    # --- checking ----------------------------------------------------------------------------------

    def check(self, address: str, candidates: Iterable[Equation]) -> tuple[Equation | None, Check]:
        """The first candidate that gives what the model computed, and how well; or the reason for refusing."""
        if address in self.refusals:
            return None, Check(status="refused", reason=self.refusals[address])
        actual = self.values[address]
        closest: Check | None = None
        reason = "no equation is known for it"
        for candidate in candidates:
            try:
                with torch.inference_mode():
                    expected = evaluate(candidate, self)
            except (UnknownAddress, RuntimeError, IndexError, TypeError, ValueError) as exc:
                reason = exc.message if isinstance(exc, UnknownAddress) else reason
                continue
            check = compare(actual, expected)
            if check.status != "refused":
                return candidate, self._against_eager(address, check)
            if closest is None or (check.max_abs_difference or 0) < (closest.max_abs_difference or 0):
                closest = check
        return None, closest or Check(status="refused", reason=reason)

    def _against_eager(self, address: str, check: Check) -> Check:
        """Hold probabilities and logits against transformers' own eager attention as well."""
        point, block = split_address(address)
        reference = None
        if point == "attn_probs" and block is not None:
            reference = self._eager_probabilities.get(block)
        elif point == "lm_head":
            reference = self._eager_logits
        if reference is None:
            return check
        eager = compare(self.values[address], reference)
        if eager.status == "refused":
            return eager.model_copy(update={"reason": f"it differs from eager attention: {eager.reason}"})
        return check if (check.max_abs_difference or 0) >= (eager.max_abs_difference or 0) else eager


def compare(actual: Tensor, expected: Tensor) -> Check:
    """`exact`, `close` within the tolerance of the tensor's precision, or `refused` with the difference.

    Masked cells (`-inf`) must be masked in both.
    """
    if actual.shape != expected.shape:
        return Check(
            status="refused", reason=f"shapes differ: {list(expected.shape)} against {list(actual.shape)}"
        )
    a, b = actual.double(), expected.double()
    if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
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


def make_check_prompt(vocab: int, context: int, device: torch.device) -> Tensor:
    """Token ids for the check, [pos]: spread over the vocabulary, the same every time."""
    count = max(2, min(CHECK_TOKENS, context))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocab, (count,), generator=generator).to(device)
