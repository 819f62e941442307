"""What the model computed for the check's prompt, and whether it is the model's own.

One forward of the model as it is, one through the tap under hooks for every site; then each block alone
(`checkup.py`). Memory: every site of `CHECK_TOKENS` positions, until its block has been checked.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glassformer.anatomy.comparison import is_same
from glassformer.anatomy.eager import hold_to_eager, read_hidden_states, run_eager
from glassformer.anatomy.far import PLACED_POINTS, Far
from glassformer.capture.capture import Capture, sift_addresses
from glassformer.capture.model_operands import CapturedOperands
from glassformer.capture.rerun import rerun_block, rerun_tail
from glassformer.compute.attention import NAME, UnknownAttention, install, select_attention
from glassformer.compute.attention_call import AttentionCall, compute_probabilities
from glassformer.compute.computing import computing
from glassformer.compute.generate import make_whole_arguments
from glassformer.compute.hooking import hook_output
from glassformer.compute.overflow import blank_shared
from glassformer.compute.position_limit import list_limits
from glassformer.compute.shortage import is_shortage
from glassformer.operation.bounded import Rounding
from glassformer.protocol.address import split_address
from glassformer.protocol.anatomy import Check
from glassformer.structure.structure import Structure

log = logging.getLogger(__name__)

# Long enough for every head to choose between several keys, short enough to cost milliseconds.
CHECK_TOKENS = 16
PATTERNS = ("attn_scores", "attn_probs")


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
        self._plain: Tensor | None = None
        # What transformers itself reports of the captured run.
        self._reported: dict[str, Tensor] = {}
        # The block whose attention was held to its family's own, and what that gave.
        self._eager: dict[int, Check | None] = {}
        # Blocks that have been run alone.
        self._rerun: set[int] = set()
        # How often each block ran in the captured forward.
        self._runs: Counter[int] = Counter()

    def run(self, addresses: Iterable[str]) -> None:
        """Run the model once as it is and once through the tap, capturing `addresses`."""
        self.run_plain()
        self.run_tapped(addresses)

    @torch.inference_mode()
    def run_plain(self) -> None:
        """Run the model with attention of transformers' own. What it had is selected again: others may come between."""
        model = self._structure.model
        before = str(model.config._attn_implementation)
        if before == NAME:
            _select_plain(model)
        try:
            with computing(len(self._token_ids), "check"):
                self._plain = self._structure.run(self._token_ids, output_attentions=False).logits[0]
        finally:
            select_attention(model, before)

    @torch.inference_mode()
    def run_tapped(self, addresses: Iterable[str]) -> None:
        """Run the model through the tap, capturing `addresses`. After `run_plain`.

        A model that the tap would make say something else keeps its eager attention.
        """
        model, structure = self._structure.model, self._structure
        structure.untapped = None
        if not install(model):
            structure.untapped = "this family computes attention outside the shared attention interface"
            self._run_eager(addresses)
        elif not self._try_tap(addresses):
            structure.untapped = "the attention tap changes what this family computes"
            self._run_eager(addresses)

    def _try_tap(self, addresses: Iterable[str]) -> bool:
        """Whether the model says through the tap what it says without."""
        wanted = list(addresses)
        try:
            for asks in (True, False):
                capture, logits = self._run_captured(wanted, asks_states=asks)
                if self._is_plain(logits) or (self.is_narrow and self._is_plain_by_block(capture)):
                    self._keep(capture, logits)
                    return True
        except UnknownAttention:
            pass
        return False

    def _run_eager(self, addresses: Iterable[str]) -> None:
        select_attention(self._structure.model, "eager")
        with computing(len(self._token_ids), "check"):
            self._structure.hands_patterns = False
            eager = run_eager(self._structure, self._token_ids)
            eager.compare_with_plain(self._structure, self._token_ids)
        wanted = list(addresses)
        # Values are shown where mixing them by the model's own probabilities gives what attention gives.
        for layout in (0, 1, None) if self._structure.hands_patterns else (None,):
            self._structure.value_layout = layout
            capture, logits = self._run_captured(wanted, asks_states=False)
            if layout is None or self._mixes(capture):
                break
        self._keep(capture, logits)
        self._reported = eager.values

    def _mixes(self, capture: Capture) -> bool:
        """Whether in every block that hands its probabilities on, these and the values give what is mixed."""
        found = []
        for block in range(len(self._structure.blocks)):
            probs, v, z = (capture.values.get(f"{point}.{block}") for point in ("attn_probs", "v", "z"))
            if probs is None:
                continue
            if (
                v is None
                or z is None
                or not probs.dim() == v.dim() == z.dim() == 3
                or z.shape[0] % v.shape[0]
            ):
                return False
            mixed = probs @ v.repeat_interleave(z.shape[0] // v.shape[0], 0)
            found.append(is_same(z, mixed))
        return bool(found) and all(found)

    def _is_plain(self, logits: Tensor) -> bool:
        assert self._plain is not None
        return is_same(*blank_shared(logits, self._plain))

    def _is_plain_by_block(self, capture: Capture) -> bool:
        """Whether each block alone gives without the tap what it gave through it, on the same input.

        In 16 bits a model may say something else after many blocks, of which each rounds otherwise.
        """
        model, structure = self._structure.model, self._structure
        _select_plain(model)
        try:
            for block in range(len(structure.blocks)):
                site = next(
                    (a for a in (f"attn_out.{block}", f"resid_post.{block}") if a in capture.values), None
                )
                before = capture.values.get(f"resid_pre.{block}")
                if site is None or before is None:
                    return False
                alone = Capture(structure, [site])
                rerun_block(structure, block, self._token_ids, before, alone)
                if not is_same(capture.values[site], alone.values[site]):
                    return False
        finally:
            install(model)
        return True

    def _keep(self, capture: Capture, logits: Tensor) -> None:
        self._capture = capture
        self.values |= capture.values
        self.values["lm_head"] = logits
        for block in range(len(self._structure.blocks)):
            for side, place in (("pre", block), ("post", block + 1)):
                stream = capture.values.get(f"resid_{side}.{block}")
                if stream is not None:
                    self._structure.note_stream(place, stream.dtype)
        for block, call in capture.calls.items():
            self.values |= form_patterns(block, call)
        for address in capture.addresses - self.values.keys():
            self.refusals[address] = "the model never ran the module that should give it"

    def _run_captured(self, addresses: list[str], *, asks_states: bool) -> tuple[Capture, Tensor]:
        self.refusals, self._reported = {}, {}
        capture = Capture(self._structure, sift_addresses(self._structure, addresses, self.refusals))
        self._runs.clear()
        handles = [
            hook_output(block, partial(self._note_run, index))
            for index, block in enumerate(self._structure.blocks)
        ]
        extra = {"output_hidden_states": True} if asks_states else {}
        try:
            with capture.open(), computing(len(self._token_ids), "check"):
                out = self._structure.run(self._token_ids, **extra)
        except (TypeError, ValueError, AttributeError):
            if not asks_states:
                raise
            return self._run_captured(addresses, asks_states=False)
        finally:
            for handle in handles:
                handle.remove()
        if asks_states:
            self._reported = read_hidden_states(out, self._structure, capture.values.get("resid_pre.0"))
        logits: Tensor = out.logits[0]
        return capture, logits

    def _note_run(self, block: int, _: nn.Module, args: Any, output: Any) -> None:
        self._runs[block] += 1
        if block == 0:
            self._structure.handed = len(output) if isinstance(output, (tuple, list)) else 0

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
        self._reported.pop(f"attn_probs.{block}", None)

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

    # --- whose values they are ---------------------------------------------------------------------

    def stands(self, address: str) -> bool:
        """Whether a value was found to be the model's own, as far as it has been looked at."""
        return address not in self.refusals and address in self.values and self.find_doubt(address) is None

    def find_doubt(self, address: str) -> str | None:
        """Why a captured value is not the model's own, by what transformers itself says of it; None if it is."""
        reported = self._reported.get(address)
        if reported is not None and not is_same(self.values[address], reported):
            return "it differs from what transformers reports"
        point, block = split_address(address)
        if point == "attn_probs" and block is not None and self._capture is not None:
            call = self._capture.calls.get(block)
            if block not in self._eager and call is not None:
                with torch.inference_mode(), computing(call.query.shape[1], "check"):
                    self._eager = {block: hold_to_eager(call)}
            found = self._eager.get(block)
            if found is not None and found.status == "refused":
                return f"it differs from the family's own eager attention: {found.reason}"
        return None

    def rounding(self, address: str) -> Rounding:
        """How the model rounds a site."""
        point, block = split_address(address)
        call = None if self._capture is None or block is None else self._capture.calls.get(block)
        if point in PATTERNS and call is not None:
            return Rounding.of(torch.float32)
        is_fused = point == "z" and call is not None and call.softcap is None and call.sinks is None
        return Rounding.of(self._structure.model.dtype, is_fused=is_fused)

    @property
    def is_narrow(self) -> bool:
        """Whether the model rounds so that other equations than the right one may be within what that explains."""
        return self._structure.model.dtype in (torch.float16, torch.bfloat16)

    def declared(self, block: int | None) -> list[float]:
        """Numbers that the model declares for a block, or for all of it."""
        return list(self._structure.scalars(block))

    def go_far(self, address: str) -> list[Far]:
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


def _select_plain(model: PreTrainedModel) -> None:
    """Give a model attention of transformers' own: fused where it can have it."""
    if not select_attention(model, "sdpa"):
        select_attention(model, "eager")


def form_patterns(block: int, call: AttentionCall) -> dict[str, Tensor]:
    """Scores and probabilities of a block's attention by address, [head, query, key], as runs show them."""
    wide = call.widened()
    scores = wide.scores()
    return {
        f"attn_scores.{block}": scores,
        f"attn_probs.{block}": compute_probabilities(scores, wide.sinks),
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
    if tapped is None or not is_same(tapped, plain):
        select_attention(model, "eager")


def make_check_prompt(vocab: int, context: int, device: torch.device) -> Tensor:
    """Token ids for the check, [pos]: spread over the vocabulary, the same every time."""
    count = max(2, min(CHECK_TOKENS, context))
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, vocab, (count,), generator=generator).to(device)
