"""Sixteen generations in one engine against transformers' own `generate()`, for families of every kind of attention.

Grouped queries, sliding windows, soft caps, sinks, latent attention, experts, parallel blocks, learned and rotary
positions, multipliers; and families that cannot share a forward, which take turns.
"""

import random
import sys
from pathlib import Path

import pytest
import torch
from tiny import make_tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import VOCAB, build
from test_engine import GREEDY, start

from glassformer.compute.attention import install
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import GenerationRequest
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model

PACKED = (
    "cohere cohere2 deepseek_v3 diffllama exaone4 gemma gemma2 gemma3_text gemma3n_text glm4 gpt2 gpt_bigcode gpt_neox "
    "gpt_oss granite granitemoe helium lfm2 llama mistral mixtral nemotron olmo2 olmoe opt phi phi3 qwen2 "
    "qwen3 qwen3_moe smollm3 stablelm starcoder2"
).split()
TAKING_TURNS = ["bloom", "falcon", "mamba", "jamba", "llama4_text"]


@pytest.mark.parametrize("family", [*PACKED, *TAKING_TURNS])
def test_greedy_tokens_of_a_mix_are_those_of_generate(family: str, caplog: pytest.LogCaptureFixture) -> None:
    model = build(family).eval()
    model.generation_config.eos_token_id = None
    rng = random.Random(family)
    # Around 64 tokens, where a sequence leaves those of its length for longer ones.
    lengths = [rng.randrange(2, 40) for _ in range(8)] + [rng.randrange(50, 75) for _ in range(8)]
    prompts = [[rng.randrange(5, VOCAB) for _ in range(length)] for length in lengths]
    expected = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        expected.append(out[0, len(prompt) :].tolist())
    install(model)
    source = ModelSource(model_id=family, kind="folder", folder=None)
    loaded = wrap_model(source, model, make_tokenizer())
    loaded.eos_ids = frozenset()
    assert (loaded.packing_fault is None) == (family in PACKED), loaded.packing_fault
    engine = Engine(loaded, max_running=16, max_waiting=0)
    readers = [start(engine, GenerationRequest(prompt, GREEDY, max_new_tokens=8))[1] for prompt in prompts]
    assert [reader.wait() for reader in readers] == expected
    assert "failed" not in caplog.text  # in a step that is computed again, each alone
    engine.close()
