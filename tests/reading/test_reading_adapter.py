"""The reading of a model with an adapter, on its output head too, against plain PyTorch with the change put into W."""

from pathlib import Path

import pytest
import torch
from adapters import make_adapter, read_plainly
from plain_sums import add_up
from safetensors.torch import load_file
from tiny import make_model
from torch import nn
from transformers import PreTrainedModel

import glassformer as gf
from glassformer.compute.attention import select_attention
from glassformer.protocol.messages import TraceRequest
from glassformer.protocol.reading import Versus
from glassformer.reading.decision import Question
from glassformer.reading.reading import read
from glassformer.run.record import open_run, record
from glassformer.run.run_store import RunStore

SCALE = 2.0  # alpha 8 over rank 4
TOKEN = 11


def merge(base: Path, adapter: Path) -> PreTrainedModel:
    model = read_plainly(base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    for key in [key for key in tensors if "lora_A" in key]:
        module = model.get_submodule(key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
        change = SCALE * tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
        # A parameter of its own: a head that is tied to the token vectors leaves them as they are.
        module.weight = nn.Parameter(
            module.weight.detach() + (change if isinstance(module, nn.Linear) else change.T)
        )
    select_attention(model, "eager")
    return model


@pytest.mark.parametrize("versus", ["none", "mean", 7])
@pytest.mark.parametrize(("family", "is_tied"), [("llama", False), ("llama", True), ("gpt2", True)])
def test_parts_go_both_ways_through_a_changed_head(
    tmp_path: Path, store: RunStore, family: str, is_tied: bool, versus: Versus
) -> None:
    base = make_model(tmp_path / "base", family, tie_word_embeddings=is_tied)
    over = make_adapter(base, tmp_path / "over", names=("o_proj", "down_proj", "c_proj", "lm_head"))
    loaded = gf.load(over, device="cpu").loaded
    request = TraceRequest(model_id=loaded.model_id, prompt="the quick brown fox", max_new_tokens=0)
    run = record(open_run(store, loaded, request))
    site = run.sites["lm_head"]
    assert site.equation is not None
    assert site.equation.operation == "add"
    pos = len(run.token_ids) - 1
    reading = read(run, Question(pos, TOKEN, versus))
    plain = merge(base, over)
    vocab = int(plain.get_output_embeddings().weight.shape[0])
    weights = torch.zeros(vocab, dtype=torch.float64)
    weights[TOKEN] = 1.0
    if versus == "mean":
        weights -= 1.0 / vocab
    elif versus != "none":
        weights[versus] -= 1.0
    heads = plain.config.num_attention_heads
    expected = add_up(plain, torch.tensor(run.token_ids), pos, weights, heads=heads)
    parts = {(part.kind, part.block, part.head): part.value for part in reading.parts if part.kind != "bias"}
    assert parts == pytest.approx(expected.values, abs=2e-5)
    assert reading.logit == pytest.approx(expected.logit, abs=2e-5)
    assert abs(reading.remainder) < 2e-5
    assert not reading.refused
