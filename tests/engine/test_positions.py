"""Texts that cross every window, chunk, original length and floor of their config, against `generate()` step by step.

Whatever a forward derives from positions, from the length of its cache or from the whole length must be what
`generate()` gives it: in packed rows, and where generations take turns.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_tokenizer
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parent.parent / "families"))
from building import BLOCKS, D_HEAD, build, make_prompt
from test_engine import start

from glassformer.compute.packing import find_lengths, place_probes
from glassformer.engine.engine import Engine
from glassformer.engine.generation_request import DecodedToken, GenerationRequest
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.protocol.messages import Sampling
from glassformer.registry.prepare import look_into

NEW_TOKENS = 44
PROMPTS = [make_prompt(count, seed=count).tolist() for count in (3, 21, 60)]
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 32,
    "short_factor": [1.0] * (D_HEAD // 2),
    "long_factor": [1.5, 2.0, 3.0, 4.0],
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "max_position_embeddings": 128,
    "llama_4_scaling_beta": 0.7,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
LINEAR_FIRST = ["linear_attention", "full_attention"] * (BLOCKS // 2)
# Families by what they derive from positions, with numbers that the texts cross; windows and chunks are 8 by default.
TAKING_TURNS: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "minimax": {"layer_types": LINEAR_FIRST},
    "llama4_text": {"floor_scale": 8, "attn_scale": 0.7},
    "phi3": {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 32},
    "phimoe": {"rope_parameters": {**LONG_ROPE, "short_mscale": 1.0, "long_mscale": 1.3}},
    "moshi": {},  # whose cache keeps a window of what its mask would show
    "recurrent_gemma": {},  # which keeps its state on its modules
    "deepseek_v32": {"index_topk": 24},  # which tells attention of the keys it chooses, from the 25th on
}
PACKED: dict[str, dict[str, Any]] = {
    "ministral3": {"rope_parameters": YARN},
    "mistral": {},
    "gemma3_text": {},
    "gemma4_text": {},
    "gpt_oss": {},
    "qwen2": {},
    "opt": {},
    "roberta": {},  # which would count from its padding token
}


def load(family: str, changes: dict[str, Any]) -> LoadedModel:
    model = build(family, **changes)
    model.generation_config.eos_token_id = None
    loaded = wrap_model(ModelSource(model_id=family, kind="folder", folder=None), model, make_tokenizer())
    loaded.eos_ids = frozenset()
    look_into(loaded)
    return loaded


def write(loaded: LoadedModel) -> list[list[DecodedToken]]:
    """Texts that are drawn side by side, each token from all there are."""
    engine = Engine(loaded, max_running=len(PROMPTS), max_waiting=0)
    readers = [
        start(
            engine,
            GenerationRequest(prompt, Sampling(temperature=1, top_p=1, seed=seed), max_new_tokens=NEW_TOKENS),
        )[1]
        for seed, prompt in enumerate(PROMPTS)
    ]
    for reader in readers:
        assert len(reader.wait()) == NEW_TOKENS
    engine.close()
    return [reader.tokens for reader in readers]


def expect(model: PreTrainedModel, prompt: list[int], written: list[int]) -> torch.Tensor:
    """The log-probabilities [token] that `generate()` sees when it is made to write `written`."""
    ids = torch.tensor([prompt])
    out: Any = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=len(written),
        do_sample=False,
        pad_token_id=0,
        prefix_allowed_tokens_fn=lambda _, seen: [written[len(seen) - len(prompt)]],
        output_logits=True,
        return_dict_in_generate=True,
    )
    assert out.sequences[0, len(prompt) :].tolist() == written
    logits = torch.cat(out.logits).float()
    return logits.log_softmax(-1).gather(1, torch.tensor(written)[:, None])[:, 0]


def compare(loaded: LoadedModel) -> None:
    """Every token that the engine writes is as likely as `generate()` says."""
    texts = write(loaded)
    for prompt, tokens in zip(PROMPTS, texts, strict=True):
        expected = expect(loaded.model, prompt, [token.token_id for token in tokens])
        found = torch.tensor([token.logprob for token in tokens])
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("family", TAKING_TURNS)
def test_texts_that_take_turns_are_those_of_generate(family: str) -> None:
    loaded = load(family, TAKING_TURNS[family])
    assert loaded.packing_fault is not None
    compare(loaded)


@pytest.mark.parametrize("family", PACKED)
def test_texts_that_share_forwards_are_those_of_generate(family: str) -> None:
    loaded = load(family, PACKED[family])
    assert loaded.packing_fault is None
    compare(loaded)
    loaded._packing = ("for comparison",)
    compare(loaded)


def test_a_model_that_is_not_looked_into_keeps_its_own_attention_where_the_tap_would_change_it() -> None:
    loaded = load("inkling2_loop_text", {})
    assert loaded.anatomy is None or loaded.anatomy.refused is not None
    compare(loaded)


def test_probes_are_on_both_sides_of_what_a_config_names() -> None:
    """Longer than what is short, and as far on as what is not."""
    rope = {**YARN, "original_max_position_embeddings": 9000, "max_position_embeddings": 40_000}
    model = build("ministral3", sliding_window=24, max_position_embeddings=40_000, rope_parameters=rope)
    lengths = find_lengths(model.config, 40_000)
    assert lengths == {24, 9000}
    placed = place_probes(lengths)
    assert any(sum(counts) > 24 for counts, _ in placed)
    assert any(offset < 9000 < offset + sum(counts) for counts, offset in placed)
    assert any(offset == 0 for _, offset in placed)
    assert find_lengths(model.config, 9000) == {24}
