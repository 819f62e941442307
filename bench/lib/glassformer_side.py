"""Glassformer's side: the Python handle, as anybody would use it, on a model loaded as the server loads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import glassformer
from glassformer.notebook import Trace
from lib.side import Question, answer

Arrays = dict[str, np.ndarray]


def make_questions(folder: Path) -> dict[str, Question]:
    model = glassformer.load(folder)
    block = len(model.anatomy.blocks) // 2
    # The recordings of the question at hand; the last one goes when the next is made.
    held: list[Trace] = []

    def record(token_ids: list[int]) -> Trace:
        held.clear()
        held.append(model.trace(token_ids=token_ids, max_new_tokens=0))
        return held[0]

    def read_residuals(trace: Trace) -> Arrays:
        count = len(trace.anatomy.blocks)
        kept = [*(f"resid_pre.{number}" for number in range(count)), f"resid_post.{count - 1}"]
        return {address: trace.numpy(address) for address in kept}

    def read_mlp(trace: Trace) -> Arrays:
        return {"mlp_act": trace.numpy(f"mlp_act.{block}")}

    def read_head(trace: Trace) -> Arrays:
        assert trace.live is not None
        rows = slice(0, trace.positions)
        return {"attn_probs": trace.live.read(f"attn_probs.{block}", (slice(0, 1), rows, rows))}

    def read_all(trace: Trace) -> Arrays:
        return {address: trace.numpy(address) for address in trace.keys()}  # noqa: SIM118

    def recorded(read: Callable[[Trace], Arrays]) -> Question:
        """Of a recording that is there, with no block of it run again yet."""

        def question(token_ids: list[int]) -> Callable[[], Arrays]:
            trace = record(token_ids)
            return lambda: read(trace)

        return question

    def from_nothing(read: Callable[[Trace], Arrays]) -> Question:
        return lambda token_ids: lambda: read(record(token_ids))

    return {
        "record": from_nothing(read_residuals),
        "mlp_act": recorded(read_mlp),
        "attn_probs": recorded(read_head),
        "mlp_act from nothing": from_nothing(read_mlp),
        "attn_probs from nothing": from_nothing(read_head),
        "all": recorded(read_all),
        "all from nothing": from_nothing(read_all),
    }


if __name__ == "__main__":
    answer(make_questions)
