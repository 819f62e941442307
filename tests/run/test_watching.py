"""Watching is free: what a model computes for a text is the same, to the bit, whether or not somebody looks into it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tracing import SHAPES, VOCAB, tiny_model

from glassformer.anatomy.checkup import build_anatomy
from glassformer.compute.key_value import KeyValueStore
from glassformer.engine.forward import PackedForward, Part
from glassformer.engine.generation_request import GenerationRequest
from glassformer.engine.sequence import TokenSequence
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.frames import decode_frame
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

STEPS = 12
WATCHED = ("q.1", "k.1", "v.1", "attn_scores.1", "attn_probs.1", "z.1")


def write(
    loaded: LoadedModel, store: RunStore, count: int, watched: Sequence[str]
) -> tuple[list[Run], list[bytes]]:
    """`count` texts that share their forwards; the first is watched."""
    generator = torch.Generator().manual_seed(3)
    frames: list[bytes] = []
    runs, sequences = [], []
    for number in range(count):
        ids = torch.randint(2, VOCAB, (9 + number,), generator=generator).tolist()
        run = store.create(loaded, ids, len(ids))
        if number == 0 and watched:
            run.subscribe(list(watched), frames.append)
        runs.append(run)
        sequences.append(TokenSequence(loaded, GenerationRequest(ids), watcher=run.watcher))
    forward = PackedForward(loaded)
    stores = {sequence: KeyValueStore() for sequence in sequences}
    for _ in range(STEPS):
        parts = [Part(sequence, sequence.pending) for sequence in sequences]
        for run, sequence, logits in zip(runs, sequences, forward.run(parts, stores), strict=True):
            assert isinstance(logits, torch.Tensor)
            token_id = int(logits.argmax())
            sequence.ids.append(token_id)
            run.append_token(token_id)
    return runs, frames


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral"])
def test_watching_changes_nothing(family: str, dtype: torch.dtype, count: int, store: RunStore) -> None:
    loaded = tiny_model(family)
    loaded.model.to(dtype)
    loaded.anatomy = build_anatomy(loaded)
    alone, _ = write(loaded, store, count, ())
    watched, frames = write(loaded, store, count, WATCHED)
    last = SHAPES[family]["num_hidden_layers"] - 1
    for expected, found in zip(alone, watched, strict=True):
        assert found.token_ids == expected.token_ids
        np.testing.assert_array_equal(found.read(f"resid_post.{last}"), expected.read(f"resid_post.{last}"))
    assert len(frames) == STEPS
    # What is told is what is read of the recording afterwards, but for the sums of one row alone.
    for place, frame in enumerate(frames[1:]):
        header, rows = decode_frame(frame)
        assert header.stop - header.start == 1
        for address in WATCHED:
            whole = watched[0].read(address)
            keys = slice(header.stop) if address.startswith("attn_") else slice(None)
            expected = whole[:, header.start : header.stop, keys]
            close = 2e-4 if dtype == torch.float32 else 0.1
            np.testing.assert_allclose(
                rows[address], expected, rtol=close, atol=close, err_msg=f"{address} {place}"
            )
