"""The model that the benchmarks measure with: a random Llama shape of 134M parameters, with a tokenizer of words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SHAPE: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "max_position_embeddings": 4096,
}


def make_model(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """The random model, which never ends a text by itself."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, eos_token_id=None, bos_token_id=None, pad_token_id=0))
    return model.to(dtype).eval().requires_grad_(False)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """As many words as the model has tokens."""
    vocabulary = {f"word{number}": number for number in range(SHAPE["vocab_size"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="word0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, unk_token="word0")  # noqa: S106


def save_shape(folder: Path) -> None:
    """The random model on disk, stored in 16 bits as most are."""
    make_model(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


@contextmanager
def model_folder(given: Path | None) -> Iterator[Path]:
    """The folder of a model to measure: the one given, else the random shape's, which is gone afterwards."""
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room).resolve() / "llama-134m"
        save_shape(folder)
        yield folder
