"""Running the model on what it has not seen of some sequences: all in one packed row, or one at a time.

Models whose sequences cannot share a row go through their own `prepare_inputs_for_generation` and cache, as
`generate()` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from glassformer.engine.sequence import TokenSequence
from glassformer.model.capture import Capture
from glassformer.model.key_value import KeyValueStore
from glassformer.model.key_value_batch import KeyValueBatches
from glassformer.model.library import find_cache_name
from glassformer.model.load import LoadedModel
from glassformer.model.packed_row import Span
from glassformer.model.packing import compute_packed


@dataclass(slots=True)
class Part:
    """The next `count` positions of a sequence, to be computed by one forward; `wanted` is what its watcher wants."""

    sequence: TokenSequence
    count: int
    wanted: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        watcher = self.sequence.watcher
        self.wanted = frozenset() if watcher is None else watcher.wanted(self.count)

    @property
    def start(self) -> int:
        """The first of the positions."""
        return self.sequence.seen

    @property
    def stop(self) -> int:
        """The position after the last."""
        return self.sequence.seen + self.count

    @property
    def draws(self) -> bool:
        """Whether the sequence draws a token from the last position's logits."""
        return self.sequence.draws and self.count == self.sequence.pending

    @property
    def logits_count(self) -> int:
        """For how many of the last positions logits are needed."""
        return self.count if "lm_head" in self.wanted else int(self.draws)


class PackedForward:
    """One forward for many sequences, each with a store of its own."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._batches = KeyValueBatches()

    @torch.inference_mode()
    def release(self, store: KeyValueStore, length: int) -> None:
        """Take a store out of the batch it may be in, with its first `length` positions; with 0 it is given up."""
        self._batches.remove(store, length)

    def run(
        self, parts: Sequence[Part], stores: dict[TokenSequence, KeyValueStore]
    ) -> list[Tensor | Exception | None]:
        """Compute `parts`; for each that draws the logits of its last position, Float[Tensor, "vocab"].

        A watcher that fails gives its exception in their place, and harms no other.
        """
        ids: list[int] = []
        positions: list[int] = []
        spans: list[Span] = []
        kept: list[int] = []
        for part in parts:
            rows = slice(len(ids), len(ids) + part.count)
            ids += part.sequence.ids[part.start : part.stop]
            positions += range(part.start, part.stop)
            spans.append(Span(rows, part.start, stores[part.sequence]))
            kept += range(rows.stop - part.logits_count, rows.stop)
        counts = [part.logits_count for part in parts]
        with self.loaded.lock, torch.inference_mode():
            with ExitStack() as stack:
                for part, span in zip(parts, spans, strict=True):
                    if part.sequence.watcher is not None:
                        stack.enter_context(part.sequence.watcher.watch(span.rows, part.start, part.stop))
                capture = open_capture(self.loaded, parts, stack)
                batches = self._batches.arrange(spans, self.loaded.device)
                logits = compute_packed(self.loaded.model, ids, positions, spans, kept, batches)
            found: list[Tensor | Exception | None] = []
            for part, span, rows in zip(parts, spans, logits.split(counts), strict=True):
                try:
                    found.append(finish(part, span.rows, capture, rows))
                except Exception as exc:
                    found.append(exc)
            return found


class SoloForward:
    """Forwards of one sequence through the model's own cache."""

    def __init__(self, loaded: LoadedModel, sequence: TokenSequence) -> None:
        self.loaded = loaded
        self.sequence = sequence
        self._kwargs: dict[str, Any] = {}

    @torch.no_grad()
    def run(self) -> Tensor | None:
        """Compute all that is pending; the last position's logits, Float[Tensor, "vocab"], where it draws."""
        model: Any = self.loaded.model
        part = Part(self.sequence, self.sequence.pending)
        rows, watcher = slice(0, part.count), self.sequence.watcher
        with self.loaded.lock:
            input_ids = torch.tensor([self.sequence.ids[: part.stop]], device=self.loaded.device)
            is_first = not self._kwargs
            if is_first:
                self._kwargs = first_kwargs(model, input_ids, keeps_all_logits=part.logits_count > 1)
            inputs = model.prepare_inputs_for_generation(
                input_ids,
                next_sequence_length=None if is_first else part.count,
                is_first_iteration=is_first,
                **self._kwargs,
            )
            with ExitStack() as stack:
                if watcher is not None:
                    stack.enter_context(watcher.watch(rows, part.start, part.stop))
                capture = open_capture(self.loaded, [part], stack)
                outputs = model(**inputs, return_dict=True)
            self._kwargs = model._update_model_kwargs_for_generation(outputs, self._kwargs)
            logits: Tensor = outputs.logits[0]
            return finish(part, rows, capture, logits[len(logits) - part.logits_count :])


def finish(part: Part, rows: slice, capture: Capture | None, logits: Tensor) -> Tensor | None:
    """Tell the watcher what a forward gave, and count its positions as seen; the logits to draw from, if any."""
    sequence, draws = part.sequence, part.draws
    if sequence.watcher is not None:
        sequence.watcher.see(capture, rows, logits)
    sequence.seen = part.stop
    return logits[-1] if draws else None


def open_capture(loaded: LoadedModel, parts: Sequence[Part], stack: ExitStack) -> Capture | None:
    """One capture of everything that the watchers of `parts` want from the next forward; None for nothing."""
    wanted = {address for part in parts for address in part.wanted} - {"lm_head"}
    if not wanted:
        return None
    return stack.enter_context(Capture(loaded.structure, wanted).open())


def first_kwargs(model: Any, input_ids: Tensor, *, keeps_all_logits: bool) -> dict[str, Any]:
    """What `generate()` would give to the first forward."""
    kwargs: dict[str, Any] = {"use_cache": True, "attention_mask": torch.ones_like(input_ids)}
    if model._supports_default_dynamic_cache():
        kwargs[find_cache_name(model)] = DynamicCache(config=model.config.get_text_config(decoder=True))
    if not keeps_all_logits and model._supports_logits_to_keep():
        kwargs["logits_to_keep"] = 1
    return kwargs
