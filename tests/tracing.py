"""Tiny random models of real families, traced; expectations come from plain transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from glassformer.anatomy.checkup import build_anatomy
from glassformer.files.catalog import ModelSource
from glassformer.loading.load import wrap_model
from glassformer.loading.loaded import LoadedModel
from glassformer.run.run import Run
from glassformer.run.run_store import RunStore

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128},
    "qwen3": {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    },
    "gemma2": {
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 8,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
    },
    "mixtral": {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
}
VOCAB = 97

Close = Callable[[Any, Tensor], None]


@dataclass
class Reference:
    """What plain transformers computes with eager attention."""

    hidden_states: list[Tensor]
    attentions: list[Tensor]
    logits: Tensor


@dataclass
class Case:
    loaded: LoadedModel
    token_ids: list[int]
    reference: Reference

    def trace(self, store: RunStore) -> Run:
        trace = store.create(self.loaded, self.token_ids, len(self.token_ids))
        ids = torch.tensor([self.token_ids])
        count = len(self.token_ids)
        with torch.inference_mode(), trace.recording.watch(slice(0, count), 0, count):
            self.loaded.model(input_ids=ids, use_cache=False)
        return trace


def tiny_model(family: str) -> LoadedModel:
    config = AutoConfig.for_model(
        family, vocab_size=VOCAB, bos_token_id=0, eos_token_id=1, pad_token_id=0, **SHAPES[family]
    )
    torch.manual_seed(7)
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        # Random models barely attend; larger weights make every number worth comparing.
        for parameter in model.parameters():
            parameter.mul_(3.0) if parameter.dim() > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    vocabulary = {f"t{i}": i for i in range(VOCAB)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=backend, eos_token="t1")
    source = ModelSource(model_id=f"tiny-{family}", kind="folder", folder=None)
    return wrap_model(source, model, tokenizer)


def make_case(family: str) -> Case:
    loaded = tiny_model(family)
    token_ids = torch.randint(2, VOCAB, (70,), generator=torch.Generator().manual_seed(3)).tolist()
    loaded.model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = loaded.model(
            torch.tensor([token_ids]), output_hidden_states=True, output_attentions=True, use_cache=False
        )
    reference = Reference([h[0] for h in out.hidden_states], [a[0] for a in out.attentions], out.logits[0])
    loaded.anatomy = build_anatomy(loaded)
    return Case(loaded, token_ids, reference)


# --- fixtures, for the conftests of those who use them -----------------------------------------------


@pytest.fixture(scope="session", params=sorted(SHAPES))
def case(request: pytest.FixtureRequest) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="session")
def llama() -> Case:
    return make_case("llama")


@pytest.fixture(scope="session")
def mixture() -> Case:
    return make_case("mixtral")


@pytest.fixture
def store() -> RunStore:
    return RunStore(64 * 2**20)


@pytest.fixture
def close() -> Close:
    """Equal to transformers up to the rounding of float32 sums."""

    def check(actual: Any, expected: Tensor) -> None:
        torch.testing.assert_close(torch.as_tensor(actual), expected.float(), rtol=1e-4, atol=2e-5)

    return check
