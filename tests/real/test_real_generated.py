"""Rows of tokens that the real model wrote, in the frames that are sent while it writes and in the recording."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plain_llama
import pytest
import torch
from llama_bounds import check, expect
from torch import Tensor

import glassformer
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.notebook.session import SESSION
from glassformer.protocol.frames import decode_frame
from glassformer.protocol.messages import Sampling
from glassformer.run.run import Run

pytestmark = pytest.mark.real

WRITTEN = 24
# How far rounding of float32 has grown in thirty blocks: measured, 9e-5.
NEAR = 1e-3
PATTERNS = ("attn_scores", "attn_probs")
# What whoever watches attention is told; without it queries, keys and values are taken from what attention read.
ATTENTION = ("q", "k", "v", *PATTERNS)

Frames = list[dict[str, Tensor]]


def write(
    model: glassformer.Model, token_ids: list[int], points: Sequence[str], blocks: Sequence[int]
) -> tuple[Run, Frames]:
    """Write greedily while somebody watches `points` of `blocks`."""
    trace = SESSION.store.create(model.loaded, token_ids, len(token_ids))
    frames: Frames = []

    def keep(frame: bytes) -> None:
        frames.append(
            {address: torch.from_numpy(rows.copy()) for address, rows in decode_frame(frame)[1].items()}
        )

    trace.subscribe([f"{point}.{block}" for block in blocks for point in points], keep)
    request = GenerationRequest(token_ids, Sampling(temperature=0), max_new_tokens=WRITTEN)
    for token in decode(model.loaded, request, watcher=trace.watcher):
        trace.append_token(token.token_id)
    return trace, frames


def join(frames: Frames, address: str) -> Tensor:
    """A site at all positions; a pattern's later keys are masked."""
    rows = [frame[address] for frame in frames]
    if address.startswith(PATTERNS):
        masked = -np.inf if address.startswith("attn_scores") else 0.0
        count = rows[-1].shape[-1]
        rows = [torch.nn.functional.pad(row, (0, count - row.shape[-1]), value=masked) for row in rows]
    return torch.cat(rows, dim=-2)


@pytest.mark.usefixtures("plain_products")
def test_live_rows_equal_those_of_generate(
    model: glassformer.Model, plain: Any, token_ids: list[int]
) -> None:
    """Every block: the prompt's rows to the bit, written ones in float32 up to the order of attention's sums.

    In 16 bits another order is another text; there written rows are held against their own operands (below).
    """
    blocks = range(plain.config.num_hidden_layers)
    trace, frames = write(model, token_ids, plain_llama.POINTS, blocks)
    ids, expected = plain_llama.write(plain, token_ids, WRITTEN, blocks)
    assert len(frames[0]) == len(plain_llama.POINTS) * len(blocks)
    for address, rows in frames[0].items():
        assert torch.equal(rows, expected[address][0].float()), address
    for block in blocks:
        recorded = torch.from_numpy(trace.read(f"resid_pre.{block}"))
        assert torch.equal(recorded, join(frames, f"resid_pre.{block}"))
    if plain.dtype != torch.float32:
        return
    assert trace.token_ids == ids
    for step, frame in enumerate(frames[1 : len(expected["resid_pre.0"])], 1):
        for address, rows in frame.items():
            cells = expected[address][step]
            # Of the cell itself and of what is usual in its row; the largest of a row says nothing of the others.
            usual = cells.abs().median(-1, keepdim=True).values
            assert bool(((rows - cells).abs() <= NEAR * (cells.abs() + usual)).all()), (
                f"{address} in step {step}"
            )


@pytest.mark.parametrize("watched", ["attention", "no attention"])
def test_written_rows_are_what_their_own_operands_make(
    model: glassformer.Model, plain: Any, token_ids: list[int], blocks: list[int], watched: str
) -> None:
    """As it is served, with whatever sums are quick: each cell within the bound of its own terms."""
    points = [p for p in (*plain_llama.POINTS, *PATTERNS) if watched == "attention" or p not in ATTENTION]
    trace, frames = write(model, token_ids, points, blocks)
    assert len(frames) > 8
    for block in blocks:
        sites = {point: join(frames, f"{point}.{block}") for point in points}
        with torch.no_grad():
            expected = expect(plain, block, sites)
        for point, cells in sites.items():
            if point != "resid_pre":
                check(cells, expected[point], f"{point}.{block}")
        recorded = torch.from_numpy(trace.read(f"resid_pre.{block}"))
        assert torch.equal(recorded, sites["resid_pre"])


def test_rows_whose_memory_was_given_up_come_back_to_the_bit(
    model: glassformer.Model, plain: Any, token_ids: list[int]
) -> None:
    trace = model.trace(token_ids=token_ids, max_new_tokens=WRITTEN, temperature=0)
    addresses = [f"resid_pre.{block}" for block in range(plain.config.num_hidden_layers)]
    before = {address: trace.numpy(address) for address in [*addresses, "lm_head"]}
    assert trace.live is not None
    assert trace.live.give_up()
    for address, cells in before.items():
        np.testing.assert_array_equal(trace.numpy(address), cells, err_msg=address)


def test_what_was_written_is_likely(model: glassformer.Model, plain: Any, token_ids: list[int]) -> None:
    """Each token is the plain model's best, or one that its rounding can't tell from the best."""
    trace = model.trace(token_ids=token_ids, max_new_tokens=WRITTEN, temperature=0)
    with torch.no_grad():
        logits = plain(torch.tensor([trace.token_ids]), use_cache=False).logits[0].float()
    first = trace.prompt_count
    best = logits[first - 1 : -1].amax(-1)
    chosen = logits[first - 1 : -1].gather(-1, torch.tensor(trace.token_ids[first:])[:, None])[:, 0]
    unit = 2**-24 if plain.dtype == torch.float32 else 2**-8
    assert bool((best - chosen <= 16 * unit * best.abs()).all())
