"""Explanations in a model with an adapter: every site's cells and formulas, against the model's own numbers."""

import random
from functools import partial
from pathlib import Path

import pytest
import torch
from adapters import make_adapter
from adding_up import find_slip
from tiny import make_model

import glassformer as gf
from glassformer.explain.explain import explain
from glassformer.protocol.messages import TraceRequest
from glassformer.run.record import open_run, record
from glassformer.run.run_store import RunStore

PROMPT = "the quick brown fox jumps over"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_site_is_explained_by_its_operands(family: str, tmp_path: Path, store: RunStore) -> None:
    """What A makes is computed from A; what the changed matrix gives, from W and from B and that."""
    make_model(tmp_path / "base", family)
    names = ("q_proj", "v_proj", "o_proj", "down_proj", "c_attn", "lm_head")
    make_adapter(tmp_path / "base", tmp_path / "over", names=names)
    plain = gf.load(tmp_path / "base", device="cpu")
    model = gf.load(tmp_path / "base", adapter=tmp_path / "over", device="cpu")
    loaded = model.loaded
    # In a notebook, too, the base is there once.
    assert loaded.base is plain.loaded
    assert gf.load(tmp_path / "over", device="cpu").loaded is loaded
    own, shared = model.loaded.model.get_input_embeddings(), plain.loaded.model.get_input_embeddings()
    assert own.weight is shared.weight
    run = record(
        open_run(store, loaded, TraceRequest(model_id=model.model_id, prompt=PROMPT, max_new_tokens=0))
    )
    choose = random.Random(5)
    explained = set()
    for address, site in run.sites.items():
        shape = run.shape(site)
        for _ in range(2):
            index = [choose.randrange(size) for size in shape]
            if site.axes[-1] == "key":
                index[-1] = choose.randrange(index[-2] + 1)
            explanation = explain(run, address, index)
            assert explanation.difference is not None, address
            assert explanation.difference <= 1e-4 * max(1.0, abs(explanation.value or 0.0)), address
            assert find_slip(explanation, partial(loaded.structure.activate, site.block or 0)) is None, (
                address
            )
            explained.add(site.point)
    assert explained & {"lora_q", "lora_qkv"}
    changed = run.read("v.0")
    base_run = record(
        open_run(store, plain.loaded, TraceRequest(model_id=plain.model_id, prompt=PROMPT, max_new_tokens=0))
    )
    assert not torch.equal(torch.as_tensor(changed), torch.as_tensor(base_run.read("v.0")))
