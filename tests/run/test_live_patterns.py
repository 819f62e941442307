"""Attention patterns in live frames: the same numbers as are read of the recording afterwards, in 16 bits too."""

import numpy as np
import pytest
import torch
from tracing import VOCAB, tiny_model

from glassformer.anatomy.checkup import build_anatomy
from glassformer.engine.decoding import decode
from glassformer.engine.generation_request import GenerationRequest
from glassformer.protocol.frames import decode_frame
from glassformer.protocol.messages import Sampling
from glassformer.run.run_store import RunStore


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_live_pattern_is_what_is_read_afterwards(store: RunStore, dtype: torch.dtype) -> None:
    loaded = tiny_model("llama")
    loaded.model.to(dtype)
    loaded.anatomy = build_anatomy(loaded)
    ids = torch.randint(2, VOCAB, (12,), generator=torch.Generator().manual_seed(3)).tolist()
    trace = store.create(loaded, ids, len(ids))
    frames: list[bytes] = []
    addresses = ["attn_scores.1", "attn_probs.1"]
    trace.subscribe(addresses, frames.append)
    list(
        decode(
            loaded, GenerationRequest(ids, Sampling(temperature=0), max_new_tokens=0), watcher=trace.watcher
        )
    )
    _, rows = decode_frame(frames[0])
    for address in addresses:
        np.testing.assert_allclose(rows[address], trace.read(address), rtol=1e-5, atol=1e-6)
